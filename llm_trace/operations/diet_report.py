"""From what a diet tried to its record: what each part costs, and what the reader must know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_trace.operations.diet_cases import WHOLE, RemovablePart, Removal, shorten_part
from llm_trace.operations.diet_evidence import LEAST, Evidence, Weights
from llm_trace.operations.diet_record import Diet, DietPart, DietStatus, PartVerdict
from llm_trace.rendering.formatting import count_things

if TYPE_CHECKING:
    from llm_trace.operations.diet_sample import DietSample
    from llm_trace.operations.diet_search import Confirmation

POOR = 0.5
"""Mean grade of whole prompts below which a reader must be told."""


@dataclass(frozen=True)
class DietFinding:
    """What was tried."""

    parts: Mapping[RemovablePart, int]
    """Calls that have each."""
    evidence: Mapping[RemovablePart, Evidence]
    proposed: Removal
    confirmed: Removal
    chosen_on: int
    confirmed_on: int = 0
    asked: int = 0
    stopped: bool = False
    """Whether the budget ended the search."""
    confirmation: Confirmation | None = None
    needed: int | None = None
    takes_tools: bool = False

    def get_status(self, margin: float) -> DietStatus:
        """Return what is proved: nothing where whole prompts score so little that nothing can be lost."""
        if not self.proposed:
            return "nothing"
        if self.confirmation is None:
            return "proposed"
        return "confirmed" if self.confirmed and self.confirmation.before > margin else "unconfirmed"


def write_diet(sample: DietSample, finding: DietFinding, margin: float, confidence: float) -> Diet:
    """Return the record."""
    status, template = finding.get_status(margin), sample.version.template
    removal = finding.confirmed if status == "confirmed" else finding.proposed
    weights = Weights(template, sample.cases)
    saved = weights.weigh_removal(removal)
    change = None if finding.confirmation is None else finding.confirmation.change
    low = None if change is None else change.equivalent_low
    return Diet(
        prompt=sample.version.name,
        version=sample.version.version,
        template=template,
        shorter=shorten_part(template, removal).template,
        status=status,
        parts=_describe_parts(sample, finding, status, weights),
        calls=len(sample.cases),
        left_out=sample.left_out,
        chosen_on=finding.chosen_on,
        confirmed_on=finding.confirmed_on,
        asked=finding.asked,
        margin=margin,
        confidence=confidence,
        before=None if finding.confirmation is None else finding.confirmation.before,
        loss=None if change is None else 0.0 - change.value,
        loss_high=None if low is None else -low,
        needed=finding.needed,
        tokens=weights.tokens,
        saved_tokens=saved,
        calls_per_month=sample.calls_per_month,
        days=sample.days,
        **_price_month(sample, saved, "saved_"),
        notes=tuple(_list_notes(sample, finding, margin)),
    )


def _price_month(sample: DietSample, tokens: float | None, prefix: str = "") -> dict[str, Any]:
    """Return what so many tokens a call come to in a month."""
    month = None if tokens is None else tokens * sample.calls_per_month
    cost = sample.cost
    known = month is not None and cost.usd is not None and cost.tokens
    usd = month * cost.usd / cost.tokens if known and month is not None and cost.usd is not None else None
    return {f"{prefix}tokens_per_month": month, f"{prefix}usd_per_month": usd}


def _describe_parts(
    sample: DietSample, finding: DietFinding, status: DietStatus, weights: Weights
) -> tuple[DietPart, ...]:
    verdicts: dict[DietStatus, PartVerdict] = {"proposed": "proposed", "unconfirmed": "unconfirmed"}
    parts = []
    for part, calls in finding.parts.items():
        verdict: PartVerdict = "kept"
        if status == "confirmed" and part in finding.confirmed:
            verdict = "removed"
        elif part in finding.proposed:
            verdict = verdicts.get(status, "unconfirmed")
        examined, mattered = finding.evidence.get(part, Evidence())
        tokens = weights.weigh_part(part)
        parts.append(
            DietPart(
                kind=part.kind, name=part.name, verdict=verdict, why=_explain(part, verdict, finding),
                calls=calls, examined=examined, mattered=mattered, tokens=tokens,
                **_price_month(sample, tokens),
            )
        )  # fmt: skip
    return tuple(sorted(parts, key=lambda part: (part.verdict == "kept", -(part.tokens or 0))))


def _explain(part: RemovablePart, verdict: PartVerdict, finding: DietFinding) -> str:
    """Return why a part goes or stays."""
    examined, mattered = finding.evidence.get(part, Evidence())
    did = ("called", "calls") if part.kind == "tool" else ("told from noise", "explained calls")
    known = f"{did[0]} in {mattered or 'none'} of {examined:,} {did[1]}" if examined else ""
    if not mattered and examined:
        known += f" (in up to {1 - 0.05 ** (1 / examined):.0%} of such calls)"
    if part.kind == "tool" and finding.confirmation is not None and not finding.takes_tools:
        return f"{known}; not tried: the model takes no argument `tools`"
    if finding.asked:
        tried = {
            "removed": "the answers do without it, together with all that goes",
            "unconfirmed": "the answers did without it on the calls it was chosen on",
        }.get(verdict, "answers suffer without it, or it stands in for another that goes")
        return f"{tried}; {known}" if known else tried
    if verdict == "kept" and examined < LEAST and not mattered:
        return f"{known or 'no attribution of it'}: at least {LEAST} are needed"
    return known


def _list_notes(sample: DietSample, finding: DietFinding, margin: float) -> Iterator[str]:
    """Yield what the reader must know."""
    cost, result = sample.cost, finding.confirmation
    if sample.left_out:
        yield f"{count_things(sample.left_out, 'call')} left out: masked, or another text than the template"
    if not cost.tokens:
        yield "no call reports its input tokens, so nothing says what the parts cost"
    elif cost.usd is None:
        names = ", ".join(sample.models) or "the model, which the calls do not name,"
        yield f"the price of {names} is not known: LLM_TRACE_PRICES may name a file with it"
    elif cost.priced < cost.calls:
        unknown = f"{cost.calls - cost.priced:,} of {count_things(cost.calls, 'call')}"
        yield f"the price of {unknown} is not known: dollars are of the others"
    yield (
        f"a month is {sample.calls_per_month:,.0f} calls, at the rate of {sample.days:.3g} day"
        f"{'' if sample.days == 1 else 's'} that the store has seen; tokens are by shares of characters"
    )
    if finding.stopped:
        yield "the budget ended the search: further parts may be without effect"
    if result is None:
        if finding.proposed and not finding.asked:
            yield (
                "no model was asked: of parts that stand in for each other each looks idle alone; name a "
                "model to test their removal together"
            )
        return
    if result.before <= margin:
        yield f"whole prompts score {result.before:.2g} on average: nothing can be lost, so nothing is proved"
    elif result.before < POOR:
        yield (
            f"whole prompts score only {result.before:.2g} on average: is it another model, or do answers "
            f"vary in their words? A score of your own says which are as good"
        )
    if finding.needed is not None and finding.confirmed_on < finding.needed:
        yield (
            f"a margin of {100 * margin:g} points needs at least "
            f"{count_things(finding.needed, 'held-out call')}, here are "
            f"{finding.confirmed_on:,}"
        )
    if finding.confirmed != finding.proposed and finding.confirmed != WHOLE:
        dropped = len(finding.proposed) - len(finding.confirmed)
        yield f"{count_things(dropped, 'proposed part')} put back: answers to held-out calls suffered"
