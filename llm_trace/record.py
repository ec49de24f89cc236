"""The vocabulary: what a call, a message, a run, an attribution is.

Every model is frozen: a closed call never changes. Times are Unix epoch nanoseconds, ids lower-case hex.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError

from llm_trace.attribution_settings import Settings
from llm_trace.call_parts import (
    CallError,
    Code,
    CostBasis,
    CostSource,
    Document,
    Message,
    OriginWeight,
    Part,
    PromptUse,
    Record,
    TextOrigin,
    Usage,
)

Kind = Literal[
    "llm", "chain", "tool", "retriever", "embedding", "agent", "reranker", "guardrail", "evaluator"
]
Status = Literal["ok", "error", "cancelled", "interrupted", "open"]
ScoreSource = Literal["human", "code", "model"]
Verdict = Literal[
    "ok",
    "insufficient_evidence",
    "redundant",
    "baseline_dependent",
    "redacted_input",
    "proxy_unverified",
    "model_changed",
    "noise_untested",
    "length_dependent",
    "self_report_unverified",
    "malformed_report",
    "unknown",
]
"""`ok`, or why the scores of an attribution must not be taken as evidence; docs/attribution.md says what each
means. `unknown`: a record of another version of llm_trace has a verdict that this one does not know.
"""
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
ATTRIBUTION_TAG = "llm_trace.attribution"
"""Tag of calls that an attribution made itself; readers leave them out unless asked for this tag."""


class Call(Record):
    """One execution of a traced function or library method."""

    trace_id: str
    """32 hex digits."""
    span_id: str
    """16 hex digits."""
    parent_id: str | None = None
    """`span_id` of the OpenTelemetry span that was current when the call began."""
    name: str
    kind: Kind = "chain"
    start_ns: int
    end_ns: int | None = None
    """`start_ns` plus a monotonic duration; `None` while the call is open or when it was interrupted."""
    status: Status = "open"
    input: Any = None
    """Arguments bound by name, as JSON values."""
    output: Any = None
    messages_in: tuple[Message, ...] = ()
    messages_out: tuple[Message, ...] = ()
    error: CallError | None = None
    model: str | None = None
    provider: str | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    """Request parameters such as `temperature` and `seed`."""
    usage: Usage | None = None
    cost_usd: float | None = None
    """`None` where it is not known, never 0."""
    cost_basis: CostBasis | None = None
    """Where the cost is from; `None` without a cost."""
    first_token_ns: int | None = None
    """When the first chunk of a stream arrived."""
    prompt: PromptUse | None = None
    session: str | None = None
    user: str | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = Field(default_factory=dict)
    run: str | None = None
    """Id of the run that the call belongs to."""
    code: Code | None = None
    replay_of: str | None = None
    """`span_id` of the call that this one replays."""
    documents: tuple[Document, ...] = Field(default=(), exclude=True)
    """Of a retriever or reranker those that it gave; of a call of a model those that were given before it in
    its trace. Made by the store of the calls' outputs, so no part of the record as JSON.
    """

    @property
    def duration_ns(self) -> int | None:
        """How long the call took, or `None` while it has no end."""
        return None if self.end_ns is None else self.end_ns - self.start_ns

    def _repr_html_(self) -> str:
        """Return the call with all that was recorded of it for notebooks."""
        from llm_trace.rendering.call_html import render_call
        from llm_trace.rendering.pages import render_fragment

        return render_fragment(render_call(self))


class Environment(Record):
    """What a run ran on, for reproducible comparison."""

    python: str
    platform: str
    packages: dict[str, str] = Field(default_factory=dict)
    """Installed distributions and their versions."""
    git_commit: str | None = None
    git_dirty: bool | None = None
    seed: int | None = None


class Run(Record):
    """One execution of an experiment; a prompt iteration is a run."""

    id: str
    """16 hex digits."""
    name: str
    config: dict[str, Any] = Field(default_factory=dict)
    tags: tuple[str, ...] = ()
    environment: Environment | None = None
    start_ns: int
    end_ns: int | None = None
    replay_of: str | None = None
    fork_of: str | None = None
    """Id of the run that this one left at a call, or `span_id` of the call where it belonged to no run."""

    def _repr_html_(self) -> str:
        """Return what was recorded of the run for notebooks."""
        from llm_trace.rendering.pages import render_fragment
        from llm_trace.rendering.record_html import render_run

        return render_fragment(render_run(self))


class PromptVersion(Record):
    """One version of a named template, as the store has seen it."""

    name: str
    version: str
    number: int
    """1 for the first version used, then 2 ..."""
    template: str
    first_ns: int
    last_ns: int
    calls: int = 0

    def _repr_html_(self) -> str:
        """Return the template for notebooks."""
        from llm_trace.rendering.pages import render_fragment
        from llm_trace.rendering.record_html import render_prompt

        return render_fragment(render_prompt(self))


class Score(Record):
    """A feedback or metric value on a call."""

    span_id: str
    name: str
    value: float | str | bool
    source: ScoreSource = "code"
    comment: str | None = None
    time_ns: int

    def _repr_html_(self) -> str:
        """Return the score for notebooks."""
        from llm_trace.rendering.pages import render_fragment
        from llm_trace.rendering.record_html import render_scores

        return render_fragment(render_scores([self]))


class Segment(Record):
    """A stretch of the prompt that is attributed as a whole."""

    start: int
    """First character offset."""
    end: int
    """One past the last character offset."""
    text: str
    kind: str = "word"
    """`token`, `word`, `sentence`, `message`, `variable`, `chunk` ..."""
    name: str | None = None
    """Name of the variable, role of the message, id of the document."""
    score: float | None = None
    """Of a chunk: the retriever's own."""
    also: tuple[tuple[int, int], ...] = ()
    """Further stretches (start, end) that come and go with this one."""
    origin: TextOrigin | None = None
    """Who brought these words in; of several the least trusted. `None`: the model itself, or not known."""

    @property
    def stretches(self) -> tuple[tuple[int, int], ...]:
        """All stretches of the segment."""
        return (self.start, self.end), *self.also


class Attribution(Record):
    """How much each segment of a prompt mattered for a response, and how far to trust it."""

    span_id: str | None = None
    """The call that is explained; `None` for a prompt that was never logged."""
    method: str
    segments: tuple[Segment, ...]
    values: tuple[float, ...]
    """One score a segment, in `unit`; positive means that the segment supports the target."""
    matrix: tuple[tuple[float, ...], ...] | None = None
    """(m, n): one row per output token."""
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    confidence: float | None = None
    bounds: str
    """What `low` and `high` bound and how; `exact` where the method computes without sampling."""
    unit: Literal["nats", "probability", "logit", "distance", "gradient", "share"] = "nats"
    """`gradient`: nats per unit of embedding; `share`: of attention, or of the scores' length."""
    prompt: str
    response: str
    target: str
    """The part of the response that is explained, in words."""
    target_tokens: tuple[str, ...] = ()
    baseline: str
    model: str | None = None
    seed: int | None = None
    p_values: tuple[float, ...] | None = None
    q_values: tuple[float, ...] | None = None
    passes: int = 0
    """Model evaluations spent."""
    tokens: int = 0
    """Tokens that went through the model."""
    seconds: float = 0.0
    full: float | None = None
    """Value of the whole prompt, in `unit`."""
    empty: float | None = None
    """Value with every segment removed, in `unit`."""
    completeness_gap: float | None = None
    """`full - empty - sum(values)`; what the scores do not account for."""
    faithfulness: dict[str, Any] = Field(default_factory=dict)
    """Measured quality, each figure with the distribution of masks it was measured on."""
    stopped: str | None = None
    """Why sampling ended: `exact`, `tight` or `budget`."""
    verdict: Verdict = "ok"
    """`ok`, or why the scores must not be taken as evidence."""
    notes: tuple[str, ...] = ()
    """Choices and fall-backs made on the way."""
    warnings: tuple[str, ...] = ()
    settings: Settings | None = None
    """What was asked; `None` in older records, where their words do not say it exactly."""
    groups: tuple[tuple[int, ...], ...] = ()
    """Indices of segments that stand in for each other (redundant)."""
    origins: tuple[OriginWeight, ...] = ()
    """What the words of each origin do together, where `provenance` measured it."""
    time_ns: int | None = None

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> Attribution:
        """Return the attribution of stored fields, also where another version of llm_trace wrote them: fields
        that this one does not know are left out, a verdict that it does not know reads `unknown` and is named
        in the warnings, settings that it cannot read are `None`.

        Raises:
            pydantic.ValidationError: what every version records is missing.
        """
        fields = {name: value for name, value in stored.items() if name in cls.model_fields}
        verdict = fields.get("verdict", "ok")
        if verdict not in VERDICTS:
            warning = f"the record's verdict is {verdict!r}, which this version of llm_trace does not know"
            fields |= {"verdict": "unknown", "warnings": (warning, *fields.get("warnings", ()))}
        try:
            Settings.model_validate(fields.get("settings") or {})
        except ValidationError:
            fields["settings"] = None
        return cls.model_validate(fields)

    def summary(self, most: int = 3) -> str:
        """Return what was found in a sentence or two that a layman reads, at most 600 characters."""
        from llm_trace.rendering.sentences import write_summary

        return write_summary(self, most)

    @property
    def level(self) -> float:
        """The confidence that was asked for, at which an effect is told from noise."""
        asked = 0.95 if self.settings is None else self.settings.confidence
        return self.confidence or asked

    def stands_out(self, i: int) -> bool:
        """Whether the effect of segment i can be told from none: where it was tested, after the correction
        for the number of tests (q-value); else its bounds exclude zero. Scores without either are taken as
        they are.
        """
        if self.q_values is not None:
            return self.q_values[i] <= 1 - self.level + 1e-12
        return self.low is None or self.high is None or self.low[i] > 0 or self.high[i] < 0

    def _repr_html_(self) -> str:
        """Return the coloured prompt with what was found and how sure that is for notebooks."""
        from llm_trace.rendering.attribution_html import render_attribution
        from llm_trace.rendering.pages import render_fragment

        return render_fragment(render_attribution(self))


__all__ = [
    "ATTRIBUTION_TAG",
    "VERDICTS",
    "Attribution",
    "Call",
    "CallError",
    "Code",
    "CostBasis",
    "CostSource",
    "Document",
    "Environment",
    "Kind",
    "Message",
    "OriginWeight",
    "Part",
    "PromptUse",
    "PromptVersion",
    "Record",
    "Run",
    "Score",
    "ScoreSource",
    "Segment",
    "Settings",
    "Status",
    "TextOrigin",
    "Usage",
    "Verdict",
]
