"""What a and b of a bisection mean: the inputs that were recorded with them, and what differs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from llm_trace.causes.bisect_beginnings import read_beginnings
from llm_trace.causes.bisect_hunks import Mixture, check_variables, mix_change
from llm_trace.comparison.changes import list_changes
from llm_trace.comparison.facts import Fact, read_facts
from llm_trace.comparison.iterations import find_prompt_version
from llm_trace.comparison.keys import pair_by_input
from llm_trace.comparison.pairs import build_pairs
from llm_trace.comparison.sides import resolve_side
from llm_trace.comparison.units import build_units
from llm_trace.errors import ConfigurationError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.capture.prompts import Prompt
    from llm_trace.comparison.changes import Change
    from llm_trace.comparison.sides import Chosen, Spec
    from llm_trace.record import PromptVersion
    from llm_trace.replays.load import Recording
    from llm_trace.replays.tape import Taped
    from llm_trace.stores.duckdb import Store

MOST_INPUTS = 500
"""The newest that are looked at."""
_VERSIONED = re.compile(r"(?P<name>.+?)(?:@| +)(?P<version>v?\d+|[0-9a-f]{4,12})")


class SideTemplate(NamedTuple):
    """A prompt's text, in the store or not."""

    name: str
    text: str


@dataclass(frozen=True)
class RecordedInput:
    """An input with the calls that answered it, `None` where a side was not asked."""

    a: Fact | None
    b: Fact | None

    @property
    def root(self) -> str:
        """The call that is made again."""
        fact = self.a or self.b
        assert fact is not None
        return fact.span_id


@dataclass(frozen=True)
class BisectSides:
    """Both sides, as far as the store knows them."""

    labels: tuple[str, str]
    inputs: tuple[RecordedInput, ...]
    templates: tuple[SideTemplate | None, SideTemplate | None]
    """Of sides that are prompts."""
    changes: tuple[Change, ...]
    """Between the calls of both, where both were recorded."""


def read_sides(store: Store, a: Spec | Prompt, b: Spec | Prompt) -> BisectSides:
    """Return the inputs and differences of two prompts, or of two runs.

    Raises:
        NotFoundError: a side does not exist, or neither has a call.
        ConfigurationError: both are the same.
    """
    chosen = resolve_side(store, a), resolve_side(store, b)  # type: ignore[arg-type]
    templates = _find_template(store, a, chosen[0]), _find_template(store, b, chosen[1])
    if templates[0] is not None and templates[0] == templates[1]:
        raise ConfigurationError(
            f"a and b are the same prompt, {chosen[0].label}: there is nothing to bisect"
        )
    facts = read_facts(store, chosen[0]), read_facts(store, chosen[1])
    for side, template, own in zip(chosen, templates, facts, strict=True):
        if not own and template is None:
            raise NotFoundError(
                f"{side.label} has no calls in {str(store.path)!r}: `llm-trace runs` lists runs"
            )
    if not facts[0] and not facts[1]:
        raise NotFoundError(
            f"neither {chosen[0].label} nor {chosen[1].label} has a call in {str(store.path)!r}: there are "
            f"no inputs to ask again"
        )
    units = build_units(*facts, (chosen[0].climbs, chosen[1].climbs))
    inputs = _pair_inputs(store, *units)
    spans = [(pair.a.span_id, pair.b.span_id) for pair in inputs if pair.a is not None and pair.b is not None]
    changes = tuple(list_changes(store, spans)) if spans else ()
    return BisectSides((chosen[0].label, chosen[1].label), inputs, templates, changes)


def _pair_inputs(store: Store, a: Sequence[Fact], b: Sequence[Fact]) -> tuple[RecordedInput, ...]:
    """Return the inputs that both answered; where there is none, those of one side, rather of b."""
    if a and b:
        pairs = build_pairs(a, b, pair_by_input(store, a, b)).pairs
        if pairs:
            both = zip(*pairs.firsts, strict=True)
            newest = sorted(both, key=lambda pair: -max(pair[0].start_ns, pair[1].start_ns))
            return tuple(RecordedInput(*pair) for pair in newest[:MOST_INPUTS])
    over = [fact for fact in (b or a) if fact.status == "ok"][-MOST_INPUTS:]
    return tuple(RecordedInput(None, fact) if b else RecordedInput(fact, None) for fact in reversed(over))


def _find_template(store: Store, spec: Any, chosen: Chosen) -> SideTemplate | None:
    if isinstance(getattr(spec, "template", None), str):
        return SideTemplate(spec.name, spec.template)
    if not (isinstance(spec, str) and chosen.label.startswith("prompt ")):
        return None
    match = _VERSIONED.fullmatch(spec)
    if match is not None:
        version = find_prompt_version(store, match["name"], match["version"])
        return SideTemplate(version.name, version.template)
    versions: list[PromptVersion] = [each for each in store.prompts(halfway=True) if each.version == spec]
    return SideTemplate(versions[0].name, versions[0].template) if versions else None


def build_mixture(store: Store, sides: BisectSides, recording: Recording) -> Mixture:
    """Return the hunks between a and b.

    Args:
        recording: of the inputs that are asked again.

    Raises:
        ConfigurationError: nothing differs, a prompt is used on one side only, or a hunk has a variable that
            the calls were not made with.
    """
    templates = _pair_templates(sides, recording)
    settings = {c.name: (_read_json(c.a), _read_json(c.b)) for c in sides.changes if c.what == "parameter"}
    models = [(c.a, c.b) for c in sides.changes if c.what == "model" and c.a and c.b]
    if gone := [name for name, (_, after) in settings.items() if after is None]:
        raise ConfigurationError(
            f"the parameter {gone[0]!r} of a is absent in b, and a replay cannot take an argument away: "
            f"record b with its default value"
        )
    both = [(each.a.span_id, each.b.span_id) for each in sides.inputs if each.a and each.b]
    chats = read_beginnings(store, both, sides.labels) if both and not templates else {}
    mixture = mix_change(templates, settings, models[0] if models else None, chats)
    if not mixture.hunks and any(change.what == "system message" for change in sides.changes):
        raise ConfigurationError(
            f"{sides.labels[0]} and {sides.labels[1]} differ in a system message that is not in the argument "
            f"`messages`, where a half-changed one could be put: make it from a Prompt, and record both again"
        )
    if not mixture.hunks:
        raise ConfigurationError(
            f"{sides.labels[0]} and {sides.labels[1]} do not differ in prompts, messages, parameters or "
            f"model, as far as they were recorded: there is nothing to bisect"
        )
    uses = [call.prompt for call in recording.tape.calls.values() if call.prompt]
    known = [frozenset(use["variables"] or ()) for use in uses if use["name"] in templates]
    check_variables(mixture, known)
    return mixture


def _pair_templates(sides: BisectSides, recording: Recording) -> dict[str, tuple[str, str]]:
    """Return by the name under which the recorded calls render it each template in a and in b."""
    if any(sides.templates):
        used = {use["name"] for call in recording.tape.calls.values() if (use := call.prompt)}
        texts = [template or _find_used(sides, recording) for template in sides.templates]
        names = [text.name for text in texts if text.name in used]
        if not names:
            raise ConfigurationError(
                f"the recorded calls were made with no prompt of the name {texts[0].name!r}: a half-changed "
                f"one could not take its place"
            )
        return {names[0]: (texts[0].text, texts[1].text)}
    changed = [change for change in sides.changes if change.what == "prompt"]
    for change in changed:
        if not change.a or not change.b:
            side = sides.labels[0 if change.a else 1]
            raise ConfigurationError(
                f"prompt {change.name!r} is used by {side} only: bisect two versions of one prompt, or runs "
                f"with them"
            )
    return {change.name: (change.a, change.b) for change in changed}


def _find_used(sides: BisectSides, recording: Recording) -> SideTemplate:
    """Return the template that the recorded calls use under the name of the side that is a prompt."""
    (name,) = {template.name for template in sides.templates if template is not None}
    uses = [(u["name"], u["version"]) for call in recording.tape.calls.values() if (u := call.prompt)]
    keys = [key for key in uses if key[0] == name and key in recording.templates]
    if not keys:
        raise ConfigurationError(f"the recorded calls were made with no prompt of the name {name!r}")
    return SideTemplate(name, recording.templates[max(set(keys), key=keys.count)])


def _read_json(text: str) -> Any:
    return orjson.loads(text) if text else None


def list_live(recording: Recording, mixture: Mixture) -> frozenset[str]:
    """Return the functions that must run for real: what asks a model with what is changed, or after it."""
    names: set[str] = set()
    for root in recording.roots:
        tape = recording.tape.select_inside(root)
        asking = [call for call in tape.calls.values() if call.kind == "llm"]
        changed = [call for call in tape.calls.values() if _has_changed(call, mixture)]
        since = (
            0 if mixture.settings or mixture.chats else min((call.start_ns for call in changed), default=0)
        )
        names |= {call.name for call in (*changed, *asking) if call.start_ns >= since}
    return frozenset(names)


def _has_changed(call: Taped, mixture: Mixture) -> bool:
    return bool(call.prompt) and (call.prompt or {})["name"] in mixture.templates
