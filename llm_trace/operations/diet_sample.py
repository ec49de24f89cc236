"""The calls of a prompt that a diet rests on, as the store has them, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.studies.template_pieces import parse_template
from llm_trace.capture.prompts import Prompt
from llm_trace.capture.redaction import MASK
from llm_trace.comparison.iterations import find_prompt_version
from llm_trace.errors import ConfigurationError, NotFoundError
from llm_trace.operations.diet_cases import Case, build_case
from llm_trace.stores.lookup import read_newest_attributions
from llm_trace.stores.prompt_use import InputCost, read_input_cost

if TYPE_CHECKING:
    from llm_trace.record import Attribution, Call, PromptVersion
    from llm_trace.stores.duckdb import Store

_DAY_NS = 86_400 * 10**9
DAYS_PER_MONTH = 365.25 / 12


@dataclass(frozen=True)
class DietSample:
    """Calls with distinct prompts, newest first, and what is known of all of them."""

    version: PromptVersion
    cases: tuple[Case, ...]
    left_out: int
    """Calls whose prompt does not hold the template as it is, or was masked."""
    explained: Mapping[str, tuple[Attribution, Mapping[str, Any]]]
    """Their attributions, and the prompt's variables, by call."""
    cost: InputCost
    """Of these calls."""
    models: tuple[str, ...]
    calls_per_month: float
    days: float


def choose_prompt_version(store: Store, prompt: str | Prompt, version: str | None) -> PromptVersion:
    """Return the version that is meant: of a `Prompt` its own, of a name the one that was used last.

    Raises:
        NotFoundError: the store has no such prompt or version.
        ConfigurationError: its template was not kept, or is another tool's.
    """
    name = prompt if isinstance(prompt, str) else prompt.name
    wanted = version if isinstance(prompt, str) else prompt.version
    if wanted is not None:
        chosen = find_prompt_version(store, name, wanted)
    else:
        versions = [each for each in store.prompts() if each.name == name]
        if not versions:
            names = ", ".join(sorted({repr(each.name) for each in store.prompts()})) or "none"
            raise NotFoundError(f"no prompt is called {name!r} in {str(store.path)!r}: there is {names}")
        chosen = max(versions, key=lambda each: (each.calls > 0, each.last_ns, each.number))
    if not chosen.template.strip():
        raise ConfigurationError(
            f"the template of prompt {name!r} is empty or was not kept: calls must be recorded with content"
        )
    try:
        parse_template(chosen.template)
    except ValueError as exc:
        raise ConfigurationError(
            f"the template of prompt {name!r} v{chosen.number} is none of str.format ({exc}): braces of "
            f"another meaning must be doubled"
        ) from exc
    return chosen


def read_sample(store: Store, version: PromptVersion, limit: int, filters: Mapping[str, Any]) -> DietSample:
    """Return the newest calls of a version.

    Args:
        limit: the most calls to read.
        filters: as `Store.calls` takes them.

    Raises:
        NotFoundError: no call matches.
        ConfigurationError: no prompt holds the template as it is.
    """
    name, number = version.name, version.version
    quoted = name.replace("'", "''")
    where = f"prompt_name = '{quoted}' AND prompt_version = '{number}'"
    where += f" AND ({filters['where']}\n)" if filters.get("where") else ""
    chosen = {"kind": "llm", **filters, "where": where}
    calls = store.calls(**{"status": "ok", **chosen, "limit": limit})
    if not calls and "kind" not in filters:  # a prompt of functions that say of themselves nothing more
        del chosen["kind"]
        calls = store.calls(**{"status": "ok", **chosen, "limit": limit})
    if not calls:
        raise NotFoundError(
            f"prompt {name!r} v{version.number} has no call that matches in {str(store.path)!r}"
        )
    explained = {
        str(attribution.span_id): (attribution, variables)
        for attribution, variables in read_newest_attributions(store, name, number, limit)
    }
    cases, left_out = _build_cases(calls, version.template, explained)
    if not cases:
        raise ConfigurationError(
            f"none of {left_out} prompts holds the template of {name!r} v{version.number} as it is: is it "
            f"changed after Prompt.format, or masked?"
        )
    summary = store.summary(**chosen)
    days = max(1.0, ((summary.last_ns or 0) - (summary.first_ns or 0)) / _DAY_NS)
    return DietSample(
        version, cases, left_out, explained,
        read_input_cost(store, name, number, [call.span_id for call in calls]),
        tuple(sorted({call.model for call in calls if call.model})),
        summary.calls / days * DAYS_PER_MONTH, days,
    )  # fmt: skip


def _build_cases(
    calls: Sequence[Call], template: str, explained: Mapping[str, object]
) -> tuple[tuple[Case, ...], int]:
    """Return the calls taken apart, of equal prompts one, and how many cannot be."""
    cases: dict[str, Case] = {}
    left_out = 0
    for call in calls:
        case = build_case(call, template)
        if case is None or any(MASK in text for text in case.texts):
            left_out += 1
            continue
        key = repr((case.prompt, case.tools))
        if key not in cases or (call.span_id in explained) > (cases[key].call.span_id in explained):
            cases[key] = case
    return tuple(cases.values()), left_out
