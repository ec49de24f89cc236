"""Characters and token ids: where each token stands, and the response as the continuation of the prompt."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.question.special_tokens import (
    gives_offsets,
    list_special_texts,
    read_special_token,
)
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from llm_trace.attribution.question.segmenters import Span

_ANCHORS = ("\n", ".", "x")


@dataclass(frozen=True)
class Tokens:
    """A tokenised text."""

    ids: tuple[int, ...]
    spans: tuple[Span, ...]
    """(start, end) of each token in the text; (0, 0) for special tokens that the text does not contain."""
    added: int
    """How many special tokens (BOS, [CLS]) were put before the text."""


@dataclass(frozen=True)
class Response:
    """The response's own tokens, the same for every perturbed prompt."""

    ids: tuple[int, ...]
    spans: tuple[Span, ...]
    """(start, end) in the response; a token that begins in the prompt starts at 0."""
    texts: tuple[str, ...]
    note: str | None = None
    lead: tuple[int, ...] = ()
    """What an encoder-decoder reads before it: the code of its language."""


class Codec:
    """A tokenizer, asked without changing it.

    Args:
        tokenizer: of transformers, fast or slow.
        causal: special tokens that the tokenizer puts at the end ([SEP], </s>) are dropped, since the
            response follows.
        sample: a text that the tokenizer can read, to learn which special tokens it adds.
    """

    def __init__(self, tokenizer: Any, *, causal: bool = True, sample: str = "a") -> None:
        self.tokenizer = tokenizer
        self.causal = causal
        bare = self._tokenize_raw(sample, special=False)
        full = self._tokenize_raw(sample, special=True)
        at = next((i for i in range(len(full) - len(bare) + 1) if full[i : i + len(bare)] == bare), 0)
        self.prefix: tuple[int, ...] = tuple(full[:at]) if full else ()
        self.suffix: tuple[int, ...] = tuple(full[at + len(bare) :]) if full and not causal else ()

    @property
    def start(self) -> tuple[int, ...]:
        """The least prompt: the special tokens, or the one a text may begin with; may be empty."""
        spare = (read_special_token(self.tokenizer, "bos").id, read_special_token(self.tokenizer, "eos").id)
        return self.prefix or tuple(i for i in spare if i is not None)[:1]

    def _tokenize_raw(self, text: str, *, special: bool) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=special)["input_ids"])

    def begins_special(self, text: str) -> bool:
        """Whether the text brings its own BOS, as a rendered chat template does."""
        bos = read_special_token(self.tokenizer, "bos").text
        return bool(bos) and text.startswith(str(bos))

    @property
    def multilingual(self) -> bool:
        """Whether responses begin with the code of a language that the tokenizer is told."""
        return not self.causal and hasattr(self.tokenizer, "tgt_lang")

    @property
    def lead(self) -> tuple[int, ...]:
        """What the tokenizer puts before a text in its target language; empty where it has none."""
        if not self.multilingual or not self.tokenizer.tgt_lang:
            return ()
        bare, full = (
            list(self.tokenizer(text_target="a", add_special_tokens=s)["input_ids"]) for s in (False, True)
        )
        return tuple(full[: next(i for i in range(len(full)) if full[i : i + len(bare)] == bare)])

    def special_spans(self, text: str) -> list[Span]:
        """Return where special tokens stand in a text."""
        longest_first = sorted(map(re.escape, list_special_texts(self.tokenizer)), key=len, reverse=True)
        return [m.span() for m in re.finditer("|".join(longest_first), text)] if longest_first else []

    def ids(self, text: str, *, own_special: bool = False) -> list[int]:
        """Return the ids of a prompt, special tokens added once at most."""
        bare = self._tokenize_raw(text, special=False)
        if own_special or self.begins_special(text):
            return bare
        return [*self.prefix, *bare, *self.suffix]

    def tokens(self, text: str, *, own_special: bool = False) -> Tokens:
        """Return the ids of a prompt with their offsets.

        Raises:
            AttributionError: the tokenizer gives no offsets and its decoding does not give the text back.
        """
        bare, spans = self._tokenize_bare(text)
        if own_special or self.begins_special(text):
            return Tokens(tuple(bare), tuple(spans), 0)
        zero = [(0, 0)]
        return Tokens(
            (*self.prefix, *bare, *self.suffix),
            (*zero * len(self.prefix), *spans, *zero * len(self.suffix)),
            len(self.prefix),
        )

    def _call_tokenizer(self, text: str, field: str, **options: Any) -> Any:
        if field == "text":  # by position: wrappers name it otherwise
            return self.tokenizer(text, **options)
        return self.tokenizer(text_target=text, **options)

    def _tokenize_bare(self, text: str, field: str = "text") -> tuple[list[int], list[Span]]:
        """Return ids and offsets without special tokens; `field` is "text", or "text_target" to translate."""
        if gives_offsets(self.tokenizer):
            got = self._call_tokenizer(text, field, add_special_tokens=False, return_offsets_mapping=True)
            spans = [(int(a), int(b)) for a, b in got["offset_mapping"]]
            if any(b > a for a, b in spans) or not text.strip():
                return list(got["input_ids"]), spans
        ids = list(self._call_tokenizer(text, field, add_special_tokens=False)["input_ids"])
        return ids, self._decode_spans(text, ids)

    def _decode_spans(self, text: str, ids: list[int]) -> list[Span]:
        """Find the offsets of a tokenizer without them: decode ever longer beginnings."""
        if self._decode(ids) != text:
            raise AttributionError(
                "the tokenizer has no character offsets and its decoding does not give the prompt back; "
                "use a fast tokenizer, or baseline='delete' with segments other than 'token'"
            )
        ends = [_count_common(self._decode(ids[: i + 1]), text) for i in range(len(ids))]
        spans: list[Span] = []
        for i, end in enumerate(ends):  # part of a character: up to the token that completes it
            start = ends[i - 1] if i else 0
            spans.append((start, end if end > start else next((e for e in ends[i:] if e > start), end)))
        return spans

    def _decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    def pieces(self, ids: tuple[int, ...]) -> list[str]:
        """Return the tokenizer's own names of the tokens, in which a leading space is visible."""
        return [str(t) for t in self.tokenizer.convert_ids_to_tokens(list(ids))]

    def tail(self, text: str, start: str) -> list[int]:
        """Return the ids of `text` behind its beginning `start`; all where the beginning is cut otherwise."""
        whole, head = self._tokenize_raw(text, special=False), self._tokenize_raw(start, special=False)
        return whole[len(head) :] if whole[: len(head)] == head else whole

    def response(self, prompt: str, response: str, *, own_special: bool = False) -> Response:
        """Return the response tokenised as the continuation of the prompt.

        Prompt and response are tokenised together and split where the response begins. Where one token
        straddles that border the model cannot have produced it (it read the prompt's tokens first): the
        response is then tokenised behind a neutral character instead.
        """
        if not self.causal:
            return self._tokenize_alone(response, None, "text_target")
        head = self.ids(prompt, own_special=own_special)
        try:
            joint = self.tokens(prompt + response, own_special=own_special)
        except AttributionError:  # no offsets, and not even the text again
            tail = self.ids(prompt + response, own_special=own_special)[len(head) :]
            return self._build_placeless(response, tail)
        ids, spans = joint.ids, joint.spans
        if list(ids[: len(head)]) == head and all(s[0] >= len(prompt) for s in spans[len(head) :]):
            own = [(a - len(prompt), b - len(prompt)) for a, b in spans[len(head) :]]
            return self._build_response(response, list(ids[len(head) :]), own, None)
        note = (
            "a token would straddle the end of the prompt: the response was tokenised from its own first "
            "character"
        )
        for anchor in (prompt[-1:], *_ANCHORS):
            got, where = self._tokenize_bare(anchor + response)
            cut = next((i for i, s in enumerate(where) if s[0] >= len(anchor)), 0)
            if cut and all(s[1] <= len(anchor) for s in where[:cut]):
                own = [(a - len(anchor), b - len(anchor)) for a, b in where[cut:]]
                return self._build_response(response, got[cut:], own, note)
        return self._tokenize_alone(response, note)

    def _tokenize_alone(self, response: str, note: str | None, field: str = "text") -> Response:
        try:
            ids, spans = self._tokenize_bare(response, field)
        except AttributionError:
            ids = list(self._call_tokenizer(response, field, add_special_tokens=False)["input_ids"])
            return self._build_placeless(response, ids)
        return self._build_response(response, ids, spans, note)

    def _build_placeless(self, response: str, ids: list[int]) -> Response:
        note = (
            "the tokenizer does not give the response back: its tokens have no places in it, so it can be "
            "explained only as a whole"
        )
        return self._build_response(response, ids, [(0, 0)] * len(ids), note)

    def _build_response(self, response: str, ids: list[int], spans: list[Span], note: str | None) -> Response:
        if not ids:
            raise AttributionError(f"the response {response!r} has no token: there is nothing to explain")
        texts = tuple(response[a:b] or self._decode([i]) for i, (a, b) in zip(ids, spans, strict=True))
        return Response(tuple(ids), tuple(spans), texts, note)

    def split_generated(self, prompt: tuple[int, ...], ids: list[int]) -> tuple[str, Response]:
        """Return the text of ids that the model produced after the prompt's, and the ids as a response."""
        head = self._decode(list(prompt))
        whole = [self._decode([*prompt, *ids[:i]])[len(head) :] for i in range(len(ids) + 1)]
        text = whole[-1]
        ends = [_count_common(part, text) for part in whole]
        spans = [(a, max(a, b)) for a, b in pairwise(ends)]
        return text, self._build_response(text, ids, spans, None)


def _count_common(a: str, b: str) -> int:
    """Return the length of the common beginning."""
    limit = min(len(a), len(b))
    return next((i for i in range(limit) if a[i] != b[i]), limit)
