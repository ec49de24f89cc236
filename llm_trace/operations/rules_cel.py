"""CEL's library: its values, its patterns and its messages."""

from __future__ import annotations

import json
import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from llm_trace.errors import MissingExtraError, RuleError
from llm_trace.rendering.leaves import convert_leaves, encode_text

if TYPE_CHECKING:
    from collections.abc import Iterable

_AT_ONCE = 5_000
"""Words that are matched in one evaluation: CEL stops after 10,000 steps."""


@cache
def get_cel() -> Any:
    """Return the module of CEL's library.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        from cel_expr_python import cel
    except ModuleNotFoundError as exc:
        raise MissingExtraError("rules need CEL: pip install 'llm-trace[rules]'") from exc
    return cel


def match_words(pattern: str, words: Iterable[str]) -> frozenset[str]:
    """Return the words in which a pattern occurs.

    Raises:
        RuleError: it is no pattern of RE2.
    """
    program, matching = _compile_pattern(pattern), set[str]()
    every = sorted({encode_text(word) for word in words})
    for first in range(0, max(1, len(every)), _AT_ONCE):
        part = every[first : first + _AT_ONCE]
        value = program.eval(data={"words": part or [""]}).value()
        if not isinstance(value, list):
            raise RuleError(f"{pattern!r} is no pattern of RE2: {strip_code(str(value))}")
        matching |= {word for word, hit in zip(part, value, strict=False) if hit.value()}
    return frozenset(matching)


@lru_cache(256)
def _compile_pattern(pattern: str) -> Any:
    cel = get_cel()
    environment = cel.NewEnv(variables={"words": cel.Type.List(cel.Type.STRING)})
    literal = json.dumps(encode_text(pattern), ensure_ascii=False)
    return environment.compile(f"words.map(w, w.matches({literal}))")


def make_plain(value: Any) -> Any:
    """Return a value as CEL takes it: texts that are no Unicode and numbers beyond 64 bits replaced."""
    return convert_leaves(value, _fit_leaf)


def _fit_leaf(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return float(value) if abs(value) < 1e300 else str(value)
    return encode_text(value) if isinstance(value, str) else value


def strip_code(message: str) -> str:
    """Return a message of CEL without the names of its codes."""
    return re.sub(r"\s*\[[A-Z_]+\]$", "", re.sub(r"^[A-Z_]+: ", "", message)).strip()
