"""What stands in place of a step: nothing, or what the same tool gave in other traces."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal, get_args

from llm_trace.causes.why_steps import list_forms
from llm_trace.errors import ConfigurationError
from llm_trace.rendering.formatting import count_things

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from llm_trace.causes.why_steps import SeenStep
    from llm_trace.replays.tape import Tape, Taped
    from llm_trace.stores.duckdb import Store

Replacement = Literal["removed", "recorded"]
REPLACEMENTS: tuple[Replacement, ...] = get_args(Replacement)
NEUTRAL = "[removed]"
"""What stands where a step was."""
_MOST = 50
"""Values of a step."""
_OUTPUTS = """SELECT output FROM calls WHERE name = ? AND kind = ? AND status = 'ok' AND trace_id <> ?
GROUP BY output ORDER BY max(start_ns) DESC, output LIMIT ?"""


def check_replacement(replace: str) -> None:
    """Refuse a word that says of nothing what stands in place of a step.

    Raises:
        ConfigurationError: it is such a word.
    """
    if replace not in REPLACEMENTS:
        raise ConfigurationError(
            f"replace={replace!r} is unknown: choose one of {', '.join(map(repr, REPLACEMENTS))}"
        )


def list_recorded_values(
    steps: Sequence[SeenStep], tape: Tape, store: Store, trace_id: str
) -> dict[str, tuple[str, ...]]:
    """Return by label what each step would be with what its call gave in other traces, the newest first;
    nothing of a step that no call gave, or that gave nothing else.
    """
    values: dict[str, tuple[str, ...]] = {}
    for step in steps:
        giver = tape.calls.get(step.span_id or "")
        texts = dict.fromkeys(_iter_values(step, giver, store, trace_id)) if giver is not None else {}
        if texts:
            values[step.label] = tuple(texts)
    return values


def _iter_values(step: SeenStep, giver: Taped, store: Store, trace_id: str) -> Iterator[str]:
    """Yield a step's text with other outputs in place of that which stands in it."""
    rows = store.fetch(_OUTPUTS, giver.name, giver.kind, trace_id, _MOST)
    for (output,) in rows:
        for own, other in zip(list_forms(giver.output), list_forms(json.loads(output)), strict=False):
            if own in step.text:
                text = step.text.replace(own, other)
                if text != step.text:
                    yield text
                break


def describe_replacement(replace: Replacement, values: Mapping[str, Sequence[str]], steps: int) -> str:
    """Return in words what stands in place of steps."""
    if replace == "removed":
        return f"what is taken away is replaced by {NEUTRAL!r}"
    known = ", ".join(f"{label} by {count_things(len(texts), 'value')}" for label, texts in values.items())
    rest = steps - len(values)
    return (
        f"what calls gave is replaced by what they gave in other traces ({known or 'there are none'}); "
        f"{count_things(rest, 'step')} without such a value by {NEUTRAL!r}"
    )
