"""Promise 4, for what comes in pieces: nothing masked as a whole can be rebuilt from what is stored."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

import llm_trace
from llm_trace import Redaction, trace
from llm_trace.capture.pieces import apply_edits, edit_pieces, find_edits, mask_lengths
from llm_trace.capture.values import ValueEncoder
from llm_trace.replays.session import ReplaySession
from tests.conftest import Recorded
from tests.helpers.file_toys import read_all_files

SECRETS = {
    "email": "zoe.quill@vexjump.com",
    "card": "4539 1488 0343 6467",
    "card without gaps": "4539148803436467",
    "api key": "sk-proj-4f9dK2mQx8LwZt71Bv3N",
    "phone": "+49 151 23456789",
    "bearer": "Bearer Xq81.vvkWz-44021777",
    "token": "eyJhbGciOiJIUzI1.eyJzdWIiOiIx.dozjgNryP4J3",
}
"""Of characters and orders that no text around them has."""


class Chunk(BaseModel):
    """A chunk of an SDK."""

    index: int
    delta: str


@dataclasses.dataclass
class Event:
    """A chunk of the user's own."""

    kind: str
    text: str


class Pair(NamedTuple):
    """Another."""

    kind: str
    text: str


def openai(pieces: list[str], choice: int = 0) -> list[Any]:
    """Return the chunks of a chat completion."""
    return [
        {
            "id": "c",
            "object": "chat.completion.chunk",
            "model": "m",
            "choices": [{"index": choice, "delta": {"content": p}}],
        }
        for p in pieces
    ]


def mixed(*lists: list[Any]) -> list[Any]:
    """Return several lists as one, in turns."""
    longest = max(map(len, lists))
    return [items[n] for n in range(longest) for items in lists if n < len(items)]


def tool_call(pieces: list[str]) -> list[Any]:
    """Return the chunks of a tool call, whose arguments are JSON text in pieces."""
    return [
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": p}}]}}]}
        for p in pieces
    ]


def growing(pieces: list[str]) -> list[str]:
    """Return each piece with all before it."""
    return ["".join(pieces[: n + 1]) for n in range(len(pieces))]


WORDS = ["we", " ", "hum", " ", "low", " ", "tunes", " "] * 12
SHAPES: dict[str, Callable[[list[str]], Any]] = {
    "texts": list,
    "chat": openai,
    "second choice": lambda p: openai(p, choice=1),
    "two choices in turns": lambda p: mixed(openai(p), openai(WORDS, choice=1)),
    "tool call": tool_call,
    "text beside a tool call": lambda p: mixed(openai(p), tool_call(WORDS)),
    "anthropic": lambda p: [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": t}} for t in p
    ],
    "anthropic tool": lambda p: [
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": t}}
        for t in p
    ],
    "responses": lambda p: [
        {"type": "response.output_text.delta", "sequence_number": n, "output_index": 0, "delta": t}
        for n, t in enumerate(p)
    ],
    "responses with its end": lambda p: [
        *({"type": "delta", "delta": t} for t in p),
        {"type": "done", "text": "".join(p)},
    ],
    "bedrock": lambda p: [{"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": t}}} for t in p],
    "gemini": lambda p: [
        {"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": t}]}}]} for t in p
    ],
    "ollama": lambda p: [
        {"model": "m", "message": {"role": "assistant", "content": t}, "done": False} for t in p
    ],
    "messages": lambda p: [{"role": "assistant", "content": t} for t in p],
    "numbered": lambda p: [{"index": n, "text": t} for n, t in enumerate(p)],
    "tagged in turns": lambda p: mixed([("token", t) for t in p], [("status", t) for t in WORDS]),
    "kinds in turns": lambda p: mixed(
        [{"type": "a", "data": t} for t in p], [{"type": "b", "data": t} for t in WORDS]
    ),
    "lists": lambda p: [[t] for t in p],
    "lists of two": lambda p: [p[n : n + 2] for n in range(0, len(p), 2)],
    "parts": lambda p: {"parts": [{"content": [{"text": t}]} for t in p]},
    "numbered names": lambda p: {f"chunk_{n}": t for n, t in enumerate(p)},
    "objects of pydantic": lambda p: [Chunk(index=0, delta=t) for t in p],
    "dataclasses": lambda p: [Event("token", t) for t in p],
    "named tuples": lambda p: [Pair("token", t) for t in p],
    "bytes": lambda p: [t.encode() for t in p],
    "growing": growing,
    "growing in dicts": lambda p: [
        {"type": "content.delta", "delta": d, "snapshot": s} for d, s in zip(p, growing(p), strict=True)
    ],
    "spans": lambda p: {
        "otel.events": [{"name": "chunk", "attributes": {"gen_ai.completion.chunk": t}} for t in p]
    },
}


def rebuilt(value: Any) -> Iterator[str]:
    """Yield what somebody could put together of a recorded value: by name, by place, by number."""
    texts: dict[Any, list[str]] = defaultdict(list)

    def walk(node: Any, path: tuple[Any, ...], index: Any) -> None:
        if isinstance(node, dict):
            index = next((v for k, v in node.items() if k.lower().endswith("index")), index)
            index = (index, node.get("type"))
            for name, item in node.items():
                walk(item, (*path, name), index)
        elif isinstance(node, list):
            tag = node[0] if node and isinstance(node[0], str) else None
            for number, item in enumerate(node):
                walk(item, (*path, (number, tag)), index)
        elif isinstance(node, str):
            names = tuple(p for p in path if isinstance(p, str))
            for group in ("all", names, names[-1:], (names, index), (path[1:],)):
                texts[group].append(node)

    walk(value, (), None)
    yield from map("".join, texts.values())


def leaks(value: Any, secret: str) -> list[str]:
    """Return the stretches of six characters of a secret that can be rebuilt."""
    stored = [*rebuilt(value), json.dumps(value, ensure_ascii=False)]
    return [
        secret[n : n + 6] for n in range(len(secret) - 5) if any(secret[n : n + 6] in text for text in stored)
    ]


@st.composite
def chunked(draw: st.DrawFn, text: str) -> list[str]:
    """Draw pieces that a text falls into."""
    cuts = sorted(draw(st.sets(st.integers(1, len(text) - 1), min_size=1, max_size=len(text) - 1)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=4, derandomize=True, phases=[Phase.generate])
@given(st.data())
def test_nothing_that_is_masked_as_a_whole_can_be_rebuilt_from_pieces(
    shape: str, data: st.DataObject
) -> None:
    encoder = ValueEncoder(Redaction())
    secret = data.draw(st.sampled_from(list(SECRETS.values())))
    value = SHAPES[shape](data.draw(chunked(f"we hum {secret}, low")))
    assert leaks(json.loads(encoder.encode(value)), secret) == []


@pytest.mark.parametrize("shape", [s for s in SHAPES if s not in ("bytes", "lists of two")])
@settings(max_examples=4, derandomize=True, phases=[Phase.generate])
@given(st.data())
def test_values_of_secret_names_cannot_be_rebuilt_from_json_in_pieces(
    shape: str, data: st.DataObject
) -> None:
    secret = "zq77-plinth-00x"
    pieces = data.draw(chunked(json.dumps({"user": "we", "userPassword": secret, "n": "low"})))
    stored = json.loads(ValueEncoder(Redaction()).encode(SHAPES[shape](pieces)))
    assert leaks(stored, secret) == []


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=3, derandomize=True, phases=[Phase.generate])
@given(st.data())
def test_a_function_that_masks_is_given_the_pieces_as_a_whole(shape: str, data: st.DataObject) -> None:
    secret = "XYLOPHONE"
    encoder = ValueEncoder(lambda text: text.replace(secret, "<name>"))
    value = SHAPES[shape](data.draw(chunked(f"we hum {secret} low {secret}, tunes")))
    assert leaks(json.loads(encoder.encode(value)), secret) == []


@given(st.lists(st.text("ab-", max_size=4)), st.text("ab*", max_size=30))
def test_edits_make_exactly_the_masked_text_of_the_pieces(pieces: list[str], masked: str) -> None:
    raw = "".join(pieces)
    edits = find_edits(raw, masked)
    assert apply_edits(raw, edits) == masked
    if pieces:
        local = edit_pieces(pieces, edits)
        assert "".join(apply_edits(p, own) for p, own in zip(pieces, local, strict=True)) == masked
        assert sum(mask_lengths(list(map(len, pieces)), raw, masked)) == len(masked)


@given(st.lists(st.text("ab ", min_size=1, max_size=5), min_size=3))
def test_pieces_without_a_secret_stay_as_they_are(pieces: list[str]) -> None:
    for shape in ("texts", "chat", "tool call", "responses", "growing"):
        value = SHAPES[shape](pieces)
        assert json.loads(ValueEncoder(Redaction()).encode(value)) == value


def test_masks_stand_where_the_secrets_stood() -> None:
    pieces = ["Write to ", "ann.smith", "@exam", "ple", ".com", ", card 4111 11", "11 1111 11", "11, bye"]
    stored = json.loads(ValueEncoder(Redaction()).encode(pieces))
    assert stored == ["Write to ", "[redacted]", "", "", "", ", card [redacted]", "", ", bye"]


PIECES = ["Write to ", "zoe.quill", "@vex", "jump", ".com", " today, or call +49 15", "1 23456", "789"]


def sync_stream(value: list[Any]) -> Any:
    """Return a traced generator."""

    @trace(kind="llm")
    def ask(q: str) -> Iterator[Any]:
        yield from value

    return lambda: list(ask("q"))


def async_stream(value: list[Any]) -> Any:
    """Return a traced async generator, run to its end."""

    @trace(kind="llm")
    async def ask(q: str) -> AsyncIterator[Any]:
        for chunk in value:
            yield chunk

    async def run() -> list[Any]:
        return [chunk async for chunk in ask("q")]

    return lambda: asyncio.run(run())


def returned(value: list[Any]) -> Any:
    """Return a traced function that returns all chunks."""
    return lambda: trace(kind="llm")(lambda q: value)("q")


def passed(value: list[Any]) -> Any:
    """Return a traced function that is given all chunks."""

    def call() -> Any:
        trace(kind="tool")(lambda chunks: None)(value)
        return value

    return call


def reduced(value: list[Any]) -> Any:
    """Return a traced generator with a reducer that tells nothing of its chunks."""

    @trace(kind="llm", output_reducer=len)
    def ask(q: str) -> Iterator[Any]:
        yield from value

    return lambda: list(ask("q"))


def noted(value: list[Any]) -> Any:
    """Return a span whose metadata, output and tags hold the chunks."""

    def call() -> Any:
        with llm_trace.span("s", metadata={"chunks": value}) as span:
            span.set(output=value)
        return value

    return call


WAYS = {f.__name__: f for f in (sync_stream, async_stream, returned, passed, reduced, noted)}
LISTS = ["texts", "chat", "objects of pydantic", "growing"]


@pytest.mark.parametrize("shape", LISTS)
@pytest.mark.parametrize("way", WAYS)
def test_a_masked_secret_is_in_no_file_in_pieces_either(recorded: Recorded, way: str, shape: str) -> None:
    llm_trace.configure(recorded.path, redact=True)
    value = SHAPES[shape](PIECES)
    assert WAYS[way](value)() == value
    (row,) = recorded.sql("SELECT input, output, metadata, rebuild FROM calls").fetchall()
    stored = [json.loads(part) for part in row if part is not None]
    assert leaks(stored, "zoe.quill@vexjump.com") == []
    assert leaks(stored, "+49 151 23456789") == []
    if shape == "chat":
        recorded.to_parquet(recorded.path.parent / "parquet")
    files = read_all_files(recorded.path.parent)
    assert [piece for piece in ("zoe.quill", "vexjump", "23456789") if piece.encode() in files] == []


@trace(kind="llm")
def masked_text(q: str) -> Iterator[str]:
    """Yield a text in pieces."""
    yield from PIECES


@trace(kind="llm")
def masked_chunks(q: str) -> Iterator[Any]:
    """Yield chunks of an SDK's kind."""
    yield from openai(PIECES)


@trace(kind="llm")
async def masked_objects(q: str) -> AsyncIterator[Chunk]:
    """Yield objects of pydantic."""
    for number, piece in enumerate(PIECES):
        yield Chunk(index=number, delta=piece)


async def ask_all() -> tuple[list[str], list[Any], list[Chunk]]:
    """Return what the three say."""
    return list(masked_text("q")), list(masked_chunks("q")), [chunk async for chunk in masked_objects("q")]


def test_a_cassette_with_masked_chunks_replays(tmp_path: Path) -> None:
    path = tmp_path / "cassette.json"
    session = ReplaySession.begin("record", path)
    asyncio.run(ask_all())
    notes = session.keep()
    session.leave()
    assert len(notes) == 3
    assert [piece for piece in ("zoe.quill", "vexjump", "23456789") if piece in path.read_text()] == []
    session = ReplaySession.begin("replay", path)
    texts, chunks, objects = asyncio.run(ask_all())
    session.leave()
    assert len(texts) == len(PIECES)
    assert "".join(texts) == "Write to [redacted] today, or call [redacted]"
    assert texts[0] == PIECES[0]
    assert "".join(c["choices"][0]["delta"]["content"] for c in chunks) == "".join(texts)
    assert "".join(chunk.delta for chunk in objects) == "".join(texts)
    assert [chunk.index for chunk in objects] == list(range(len(PIECES)))
