"""What is asked, of a text, messages or a logged call: a prompt, a response, a target, a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

from llm_trace.attribution.models.evaluation import check_ids
from llm_trace.attribution.models.generation import check_reproduces, generate_answer
from llm_trace.attribution.models.kinds import detect_kind
from llm_trace.attribution.models.questions import resolve_segments
from llm_trace.attribution.models.responses import make_response
from llm_trace.attribution.question import chat
from llm_trace.attribution.question.objective import Goal, Query, build_goal
from llm_trace.attribution.question.origins import map_origins
from llm_trace.attribution.question.renders import (
    Baseline,
    Render,
    assign_tokens,
    build_mask_baseline,
    render,
    segment_prompt,
)
from llm_trace.attribution.question.segments import cut_out_regions
from llm_trace.attribution.question.targets import (
    ResponsePart,
    Target,
    find_decision_rows,
    find_rows,
    get_contrast,
    replace_contrast,
)
from llm_trace.attribution.question.tokenization import Codec, Response
from llm_trace.errors import AttributionError
from llm_trace.record import Verdict

if TYPE_CHECKING:
    from llm_trace.attribution.models.cache import ValueCache
    from llm_trace.attribution.models.open_value import OpenValue
    from llm_trace.attribution.models.questions import ParsedQuestion
    from llm_trace.attribution.models.spines import Spine
    from llm_trace.attribution.question.segments import Region, Segmented, SegmentSpec


@dataclass(frozen=True)
class Problem:
    """The question for one model."""

    model: Any
    name: str
    codec: Codec
    segmented: Segmented
    own_special: bool
    text: str
    """The response."""
    response: Response
    rows: tuple[int, ...]
    """Its tokens that are explained."""
    target: str
    goal: Goal
    target_tokens: tuple[str, ...]
    """The explained tokens; those of the other answer of a contrast begin with "not "."""
    notes: tuple[str, ...]
    cache: ValueCache | None = None
    spines: dict[tuple[int, ...], Spine] = field(default_factory=dict, compare=False)
    """The whole prompt, computed once for the value functions of all baselines."""

    @property
    def n(self) -> int:
        """Number of segments."""
        return len(self.segmented.segments)

    def render(self, baseline: Baseline) -> Render:
        """Return what turns masks into prompts."""
        return render(self.segmented, baseline, self.codec, own_special=self.own_special)

    def value(self, baseline: Baseline) -> OpenValue:
        """Return the value function with this baseline."""
        from llm_trace.attribution.models.open_value import GradientProblem, OpenValue

        where: dict[str, Any] = {
            "segmented": self.segmented,
            "codec": self.codec,
            "own_special": self.own_special,
        }
        work = GradientProblem(
            partial(assign_tokens, **where), partial(build_mask_baseline, **where), baseline
        )
        parts = (self.model, self.render(baseline), self.response.ids, self.rows, self.n)
        return OpenValue(*parts, aim=self.goal, cache=self.cache, work=work, spines=self.spines)


def build_problem(
    question: ParsedQuestion,
    model: Any,
    tokenizer: Any,
    name: str,
    *,
    segments: SegmentSpec,
    target: Target,
    unit: str = "nats",
    cache: ValueCache | None = None,
) -> Problem:
    """Return the question with everything worked out that does not depend on a baseline.

    Without a response the model answers greedily and these tokens are explained.
    """
    text, regions, own_special, notes = _get_text(question, tokenizer)
    codec = Codec(tokenizer, causal=detect_kind(model) == "causal", sample=text or "a")
    regions = cut_out_regions(regions, text, codec.special_spans(text))
    check_ids(model, [codec.ids(text, own_special=own_special)])
    origins, unplaced = map_origins(text, regions, question.sources)
    if question.apart:
        regions = origins.split_regions(regions, text)
    segments = resolve_segments(question, segments)
    segmented = origins.label_segments(segment_prompt(text, segments, regions, codec, own_special))
    notes += unplaced if question.apart or question.origins else ()
    answer = question.response
    if question.tool_calls:
        answer, how = chat.write_tool_calls(question.prompt, question.tool_calls, tokenizer)
        notes.append(how)
    if answer is None:
        answer, response = generate_answer(model, codec, tuple(codec.ids(text, own_special=own_special)))
        notes.append("no response was given: the model's own greedy answer is explained")
    else:
        response = make_response(model, codec, text, answer, own_special=own_special)
    notes += [response.note] if response.note else []
    if detect_kind(model) != "classifier":
        check_ids(model, [response.ids], response=True)
    explained = _Explained(model, codec, text, own_special, answer, response, unit).by(target)
    return Problem(
        model,
        name,
        codec,
        segmented,
        own_special,
        answer,
        response,
        *explained,
        (*notes, *segmented.notes),
        cache,
    )


class Notes(Protocol):
    """What takes reasons for mistrust."""

    def suspect(self, verdict: Verdict, warning: str) -> None:
        """Note one."""


def note_suspicions(question: ParsedQuestion, work: Problem, notes: Notes) -> None:
    """Note what speaks against the question itself: a masked prompt, a model that answers otherwise."""
    note_masked_input(question, notes)
    if question.logged and question.model != work.name and not _check_reproduces(work):
        notes.suspect(
            "proxy_unverified",
            f"{work.name} does not answer so itself: it stands in for {question.model or 'the model'} that "
            "did",
        )


def note_masked_input(question: ParsedQuestion, notes: Notes) -> None:
    """Note it where the prompt was masked."""
    if question.redacted:
        notes.suspect("redacted_input", "parts of the prompt were masked before it was logged")


def _check_reproduces(work: Problem) -> bool:
    """Whether the model's own most likely token is the response's at every place."""
    prompt = work.codec.ids(work.segmented.text, own_special=work.own_special)
    return check_reproduces(work.model, tuple(prompt), work.response)


@dataclass(frozen=True)
class _Explained:
    """What of a response is explained; `by` gives rows, the target in words, goal and explained tokens."""

    model: Any
    codec: Codec
    prompt: str
    own_special: bool
    text: str
    """The response."""
    response: Response
    unit: str

    def by(self, target: Target) -> tuple[tuple[int, ...], str, Goal, tuple[str, ...]]:
        contrast = get_contrast(target)
        if contrast is not None:
            span, other = replace_contrast(contrast, self.text)
            return self._contrast(span, other)
        rows, words = find_rows(cast("ResponsePart", target), self.text, self.response.spans)
        aim = build_goal(Query.of(self.response.ids, rows, self.response.lead), unit=self.unit)
        return tuple(rows), words, aim, tuple(self.response.texts[r] for r in rows)

    def _contrast(
        self, span: tuple[int, int], other: str
    ) -> tuple[tuple[int, ...], str, Goal, tuple[str, ...]]:
        that = make_response(self.model, self.codec, self.prompt, other, own_special=self.own_special)
        there = (span[0], span[1] + len(other) - len(self.text))
        rows = find_rows(span, self.text, self.response.spans)[0]
        other_rows = find_rows(there, other, that.spans)[0]
        rows, other_rows = find_decision_rows(self.response.ids, that.ids, rows, other_rows)
        if not rows and not other_rows:
            raise AttributionError(f"both answers of the contrast have the same tokens: {other!r}")
        query = Query.of(self.response.ids, rows, self.response.lead) if rows else None
        against = Query.of(that.ids, other_rows, that.lead) if other_rows else None
        words = f"{self.text[slice(*span)].strip()!r} rather than {other[slice(*there)].strip()!r}"
        texts = [self.response.texts[r] for r in rows] + [f"not {that.texts[r]}" for r in other_rows]
        return tuple(rows), words, build_goal(query, against, self.unit), tuple(texts)


def _get_text(question: ParsedQuestion, tokenizer: Any) -> tuple[str, tuple[Region, ...], bool, list[str]]:
    if isinstance(question.prompt, str):
        return question.prompt, (), False, []
    rendered = chat.render_chat(question.prompt, tokenizer)
    return rendered.text, rendered.regions, rendered.templated, list(rendered.notes)
