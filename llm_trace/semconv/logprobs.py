"""The log-probabilities of an answer's tokens, wherever a provider puts them. Never raises."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from llm_trace.semconv.values import list_mappings


class TokenLogprob(NamedTuple):
    """A token of an answer, with how likely the model held it, in nats, and what it held likely instead."""

    token: str
    logprob: float
    others: tuple[tuple[str, float], ...] = ()


def find_token_logprobs(output: Any) -> list[TokenLogprob]:
    """Return the tokens of the first answer in an output, empty where it has no log-probabilities.

    Reads OpenAI's chat, completions and Responses and all that speak like them, Gemini, and LangChain's
    messages.
    """
    if not isinstance(output, Mapping):
        return []
    for entries in (_list_choices(output), _list_contents(output), _list_candidates(output)):
        if tokens := [token for entry in entries if (token := _read_token(*entry)) is not None]:
            return tokens
    return []


TokenEntry = tuple[Any, Any, Any]
"""A token, its log-probability and the others, as the provider gives them."""


def _list_choices(output: Mapping[str, Any]) -> Iterator[TokenEntry]:
    """Yield the tokens of OpenAI's chat and completions, and of a LangChain message."""
    metadata = output.get("response_metadata")
    holders = list_mappings(output.get("choices"))[:1] + ([metadata] if isinstance(metadata, Mapping) else [])
    for holder in holders:
        logprobs = holder.get("logprobs")
        if not isinstance(logprobs, Mapping):
            continue
        yield from _list_entries(logprobs.get("content"))
        tokens, values, tops = (logprobs.get(name) for name in ("tokens", "token_logprobs", "top_logprobs"))
        if isinstance(tokens, list) and isinstance(values, list):
            each = tops if isinstance(tops, list) and len(tops) == len(tokens) else [None] * len(tokens)
            for token, value, top in zip(tokens, values, each, strict=False):
                yield token, value, list(top.items()) if isinstance(top, Mapping) else []


def _list_contents(output: Mapping[str, Any]) -> Iterator[TokenEntry]:
    """Yield the tokens of OpenAI's Responses."""
    for item in list_mappings(output.get("output")):
        for part in list_mappings(item.get("content")):
            yield from _list_entries(part.get("logprobs"))


def _list_entries(entries: Any) -> Iterator[TokenEntry]:
    for entry in list_mappings(entries):
        tops = list_mappings(entry.get("top_logprobs"))
        yield entry.get("token"), entry.get("logprob"), [(t.get("token"), t.get("logprob")) for t in tops]


def _list_candidates(output: Mapping[str, Any]) -> Iterator[TokenEntry]:
    """Yield the tokens of Gemini's answers, whose names are written in two ways."""
    for candidate in list_mappings(output.get("candidates"))[:1]:
        result = _get_either(candidate, "logprobs_result", "logprobsResult")
        if not isinstance(result, Mapping):
            continue
        tops = list_mappings(_get_either(result, "top_candidates", "topCandidates"))
        for i, entry in enumerate(
            list_mappings(_get_either(result, "chosen_candidates", "chosenCandidates"))
        ):
            others = list_mappings(tops[i].get("candidates")) if i < len(tops) else []
            yield *_read_candidate(entry), [_read_candidate(other) for other in others]


def _read_candidate(entry: Mapping[str, Any]) -> tuple[Any, Any]:
    return entry.get("token"), _get_either(entry, "log_probability", "logProbability")


def _get_either(mapping: Mapping[str, Any], *names: str) -> Any:
    return next((mapping[name] for name in names if mapping.get(name) is not None), None)


def _read_token(token: Any, logprob: Any, others: list[tuple[Any, Any]]) -> TokenLogprob | None:
    if not isinstance(token, str) or not _is_logprob(logprob):
        return None
    rest = tuple((t, float(p)) for t, p in others if isinstance(t, str) and t != token and _is_logprob(p))
    return TokenLogprob(token, min(0.0, float(logprob)), rest)


def _is_logprob(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
