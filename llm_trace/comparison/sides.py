"""What `a` and `b` of a comparison mean: a run, a prompt's version, a model, a call, or filters of calls."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_trace.errors import ConfigurationError, NotFoundError
from llm_trace.record import PromptVersion, Run
from llm_trace.stores.filters import Filter

if TYPE_CHECKING:
    from llm_trace.stores.duckdb import Store

    Spec = str | Run | PromptVersion | Mapping[str, Any]

FILTERS = ("run", "name", "kind", "model", "tag", "session", "user", "status", "since", "until", "where")
_VERSIONED = re.compile(r"(?P<name>.+?)(?:@| +)(?P<version>v\d+|\d+|[0-9a-f]{4,12})")
_HASH = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class Chosen:
    """The calls that one side means."""

    label: str
    filter: Filter
    climbs: bool
    """Whether whole traces are meant, of which these calls are a part: of a prompt's or a model's calls,
    what they were made for.
    """


def resolve_side(store: Store, spec: Spec) -> Chosen:
    """Return the calls that are meant.

    Raises:
        NotFoundError: no run, prompt version, model or call of that name is there.
        ConfigurationError: a filter that `Store.calls` does not have, or a prompt without a version.
    """
    if isinstance(spec, Run):
        return Chosen(f"run {spec.name}", Filter.of(runs=[spec.id]), climbs=False)
    if isinstance(spec, Mapping):
        return _filter_calls(store, spec)
    if isinstance(spec, str):
        side = _run(store, spec) or _resolve_prompt(store, spec) or _model(store, spec) or _call(store, spec)
        if side is None:
            raise NotFoundError(_refuse_unknown(store, spec))
        return side
    name, version = getattr(spec, "name", None), getattr(spec, "version", None)  # a Prompt or a PromptVersion
    if not isinstance(name, str) or not isinstance(version, str):
        raise ConfigurationError(
            f"{spec!r} names no calls: give a run, a prompt version, a model or a dict of filters"
        )
    return _find_version(f"prompt {name}@{version}", name, version)


def _filter_calls(store: Store, spec: Mapping[str, Any]) -> Chosen:
    unknown = [name for name in spec if name not in FILTERS]
    if unknown or not spec:
        raise ConfigurationError(f"{dict(spec)!r} is no filter: it takes {', '.join(FILTERS)}")
    filters = {name: value for name, value in spec.items() if value is not None}
    label = ", ".join(f"{name}={getattr(value, 'name', value)}" for name, value in filters.items())
    run = filters.pop("run", None)
    runs = (
        None if run is None else [run.id] if isinstance(run, Run) else [str(run), *_list_ids(store, str(run))]
    )
    return Chosen(label, Filter.of(runs=runs, **filters), climbs=False)


def _list_ids(store: Store, name: str) -> list[str]:
    return [str(row[0]) for row in store.fetch("SELECT id FROM runs WHERE name = ? ORDER BY start_ns", name)]


def _run(store: Store, name: str) -> Chosen | None:
    rows = store.fetch("SELECT id, name FROM runs WHERE id = ? OR name = ? ORDER BY start_ns", name, name)
    if not rows:
        return None
    return Chosen(f"run {rows[0][1]}", Filter.of(runs=[str(row[0]) for row in rows]), climbs=False)


def _resolve_prompt(store: Store, name: str) -> Chosen | None:
    versions = store.prompts(halfway=True)
    if any(p.name == name for p in versions):
        numbers = ", ".join(f"'{p.name} v{p.number}'" for p in store.prompts() if p.name == name)
        raise ConfigurationError(f"prompt {name!r} has versions: name one of {numbers}")
    matches = [p for p in versions if _is_meant(name, p)]
    if len(matches) > 1:
        raise ConfigurationError(
            f"{name!r} may mean {' or '.join(f'{p.name}@{p.version}' for p in matches)}: write it so"
        )
    return (
        _find_version(f"prompt {matches[0].name} v{matches[0].number}", matches[0].name, matches[0].version)
        if matches
        else None
    )


def _is_meant(text: str, prompt: PromptVersion) -> bool:
    if _HASH.fullmatch(text):
        return prompt.version == text
    match = _VERSIONED.fullmatch(text)
    if match is None or match["name"] != prompt.name:
        return False
    version = match["version"]
    return version.removeprefix("v") == str(prompt.number) or (
        len(version) >= 4 and prompt.version.startswith(version)
    )


def _find_version(label: str, name: str, version: str) -> Chosen:
    return Chosen(label, Filter.of(prompt_name=name, prompt_version=version), climbs=True)


def _model(store: Store, name: str) -> Chosen | None:
    if not store.fetch("SELECT 1 FROM calls WHERE model = ? LIMIT 1", name):
        return None
    return Chosen(f"model {name}", Filter.of(model=name), climbs=True)


def _call(store: Store, span_id: str) -> Chosen | None:
    rows = store.fetch("SELECT name FROM calls WHERE span_id = ?", span_id)
    return Chosen(f"{rows[0][0]} {span_id}", Filter.of(span_id=span_id), climbs=False) if rows else None


def _refuse_unknown(store: Store, name: str) -> str:
    known = [run.name for run in store.runs()]
    known += [f"{p.name} v{p.number}" for p in store.prompts()]
    known += [str(row[0]) for row in store.fetch("SELECT DISTINCT model FROM calls WHERE model IS NOT NULL")]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = (
        f"did you mean {' or '.join(map(repr, near))}?"
        if near
        else "`llm-trace runs` and `llm-trace prompts` list what there is"
    )
    return f"no run, prompt version, model or call is called {name!r} in {str(store.path)!r}: {hint}"
