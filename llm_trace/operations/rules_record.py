"""Rules that were suggested, and their text as a rule file has it."""

from __future__ import annotations

from llm_trace.operations.rates import BoundedRate
from llm_trace.record import Record


class SuggestedRule(Record):
    """A rule that was confirmed; it does nothing until somebody puts it into a file."""

    name: str
    when: str
    p_value: float
    """Fisher's exact test on the calls held out, one-sided, corrected for all candidates (Holm)."""
    precision: BoundedRate
    """Of the calls held out on which it fires: how many are wrong."""
    recall: BoundedRate
    """Of the wrong calls held out: on how many it fires."""
    fires: BoundedRate
    """Of the calls held out."""


class Suggestions(Record):
    """What `suggest_rules` finds."""

    rules: tuple[SuggestedRule, ...]
    """The surest first."""
    candidates: int
    """Conditions that were tested on the calls held out."""
    training: int
    """Calls that candidates were looked for in."""
    held_out: int
    wrong: int
    """Of all these calls."""
    left_out: dict[str, int]
    """Calls that do not count, by why."""
    label: str
    confidence: float
    seed: int

    def to_yaml(self) -> str:
        """Return the rules as a file has them, ready to paste; what was measured stands in comments."""
        return _write_rules(self)


def _write_rules(suggestions: Suggestions) -> str:
    """Return suggested rules as YAML, with what was measured in comments."""
    s = suggestions
    head = [
        f"# Proposed from {s.training:,} calls, tested on {s.held_out:,} others; {s.wrong:,} of all are",
        f"# wrong by {_quote(s.label)}. Corrected for {s.candidates} candidates. Try them before they act.",
    ]
    if not s.rules:
        return "\n".join([*head, "# None held on the calls held out.", ""])
    return (
        "\n".join([*head, "rules:", *(line for rule in s.rules for line in _write_rule(rule, s.confidence))])
        + "\n"
    )


def _write_rule(rule: SuggestedRule, confidence: float) -> list[str]:
    comment = (
        f"On calls held out: {_write_rate(rule.precision)} of those it fires on are wrong, and it fires on "
        f"{_write_rate(rule.recall)} of the wrong ones ({confidence:.0%} bounds); p = {rule.p_value:.2g}, "
        "corrected."
    )
    return [
        f"  - name: {_quote(rule.name)}",
        f"    when: {_quote(rule.when)}",
        "    action: check",
        f"    comment: {_quote(comment)}",
    ]


def _write_rate(rate: BoundedRate) -> str:
    if rate.value is None:
        return "none"
    return f"{rate.value:.0%} ({rate.low:.0%} to {rate.high:.0%}; {rate.count:,} of {rate.of:,})"


def _quote(text: str) -> str:
    """Return a text as YAML has it between double quotes."""
    return f'"{"".join(map(_escape, text))}"'


def _escape(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08x}"
