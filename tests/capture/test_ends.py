"""Calls whose end is hard to write, kinds as others spell them, and what must not be silent."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any, TextIO

import pytest
from opentelemetry import trace as otel

import llm_trace
from llm_trace.errors import ConfigurationError
from tests.conftest import Recorded


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("closed session")


class NoText(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]


class NoArguments(Unreadable):
    @property
    def args(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no arguments")


@pytest.mark.parametrize(
    "error",
    [Unreadable("q", 1), NoText("q", 1), NoArguments("q", 1)],
    ids=["raises", "gives no text", "has no arguments"],
)
def test_an_exception_whose_text_cannot_be_read_ends_its_call(store: Recorded, error: Exception) -> None:
    @llm_trace.trace(kind="llm")
    def ask() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        ask()
    assert raised.value is error

    @llm_trace.trace
    def handle() -> str:
        otel.get_current_span().record_exception(error)
        return "handled"

    assert handle() == "handled"
    second, first = store.calls()
    cause = "TypeError" if type(error) is NoText else "RuntimeError"
    assert (first.status, second.status) == ("error", "ok")
    assert first.error is not None
    assert first.error.message == f"<the message could not be read, {cause}>: q, 1"
    assert llm_trace.flush().ok


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX descriptors")
def test_no_event_goes_into_a_file_that_got_the_number_of_a_descriptor_closed_behind_our_back(
    store: Recorded, tmp_path: Path
) -> None:
    spool = str(store.path) + ".spool"
    files: list[TextIO] = []

    def close_and_open(q: str) -> str:
        for descriptor in list(Path("/dev/fd").iterdir()):
            if descriptor.is_symlink() and spool in str(descriptor.readlink()):
                os.close(int(descriptor.name))
        files.extend((tmp_path / f"{q}{n}.csv").open("w") for n in range(4))
        return q

    ask: Any = llm_trace.trace(kind="llm")(lambda q: q)
    ask("one")
    close_and_open("between")
    ask("two")
    llm_trace.trace(kind="llm")(close_and_open)("inside")
    for file in files:
        file.write("id,name\n")
        file.close()
    assert [Path(file.name).read_text() for file in files] == ["id,name\n"] * 8
    assert [call.output for call in store.calls()] == ["inside", "two", "one"]
    assert llm_trace.flush().ok


def test_a_stream_that_its_reader_left_is_no_failure_for_keep_errors(recorded: Recorded) -> None:
    llm_trace.configure(recorded.path, sample=llm_trace.Sample(0.0, keep_errors=True))

    @llm_trace.trace(kind="llm")
    def tell() -> Generator[str, None, None]:
        yield "a"
        yield "b"

    for _ in tell():
        break

    @llm_trace.trace
    def fail() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()
    assert [call.name for call in recorded.calls()] == ["fail"]


@pytest.mark.parametrize(
    ("spelling", "kind"),
    [
        ("LLM", "llm"), ("generation", "llm"), ("GENERATION", "llm"), ("Retriever", "retriever"),
        ("span", "chain"), ("parser", "chain"), ("task", "chain"), ("RERANKER", "reranker"),
    ],
    ids=str,
)  # fmt: skip
def test_kinds_as_other_tools_spell_them_are_ours(store: Recorded, spelling: Any, kind: str) -> None:
    llm_trace.trace(kind=spelling)(lambda q: q)("q")
    with llm_trace.span("s", spelling):
        pass
    assert [(call.kind, call.status) for call in store.calls()] == [(kind, "ok")] * 2
    assert store.calls()[1].input == {"q": "q"}


@pytest.mark.parametrize("kind", ["lmm", "", None, 3], ids=["misspelled", "empty", "none", "number"])
def test_a_kind_that_is_none_is_refused_where_the_function_is_decorated(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match="choose one of agent, chain"):
        llm_trace.trace(kind=kind)(lambda: None)


def test_no_quarantined_line_is_silent(store: Recorded) -> None:
    llm_trace.trace(lambda: None)()
    assert llm_trace.flush().ok
    (file,) = Path(str(store.path) + ".spool").glob("*.jsonl")
    with file.open("ab") as spool:
        spool.write(b"no event\n")
    store.calls()
    report = llm_trace.flush()
    assert list(report.reasons.values()) == [1]
    assert "set aside" in str(report)
    assert not report.ok
