"""What is known of a call when a rule asks: the call, its prompt, its attribution and its scores."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llm_trace.evaluation.judge_prompts import write_text
from llm_trace.operations.rules_cel import match_words
from llm_trace.operations.shares import MissingSignalError, WeightShares
from llm_trace.record import Attribution, Call, Score
from llm_trace.stores.rows import build_attribution, build_score_record

if TYPE_CHECKING:
    from llm_trace.stores.duckdb import Store

MOST_ASKED = 200
"""Different questions of functions that the conditions about one call may ask."""
_ATTRIBUTIONS = """
    SELECT span_id, time_ns, attribution FROM attributions
    WHERE status = 'ok' AND span_id IN (SELECT unnest(?))
    QUALIFY row_number() OVER (
        PARTITION BY span_id ORDER BY attribution ->> '$.verdict' = 'ok' DESC, time_ns DESC) = 1"""
_SCORES = "SELECT * EXCLUDE (number) FROM scores WHERE span_id IN (SELECT unnest(?)) ORDER BY time_ns, id"
_PARENTS = """
    WITH RECURSIVE above AS (
        SELECT span_id AS leaf, span_id, parent_id, 0 AS height FROM calls WHERE span_id IN (SELECT unnest(?))
        UNION ALL
        SELECT a.leaf, c.span_id, c.parent_id, a.height + 1
        FROM above a JOIN calls c ON c.span_id = a.parent_id WHERE a.height < 100)
    SELECT leaf, span_id FROM above ORDER BY leaf, height"""
_TEMPLATES = "SELECT name, version, template FROM prompts"


class KnownCall:
    """What is known of a call.

    Args:
        call: the call.
        attribution: of it; `None` where it was not explained.
        scores: of it and of the calls around it, the last of a name being the one that counts.
        template: of its prompt.
    """

    def __init__(
        self,
        call: Call,
        attribution: Attribution | None = None,
        scores: Sequence[Score] = (),
        template: str | None = None,
    ) -> None:
        self.call, self.attribution, self.scores, self.template = call, attribution, scores, template
        self._answers: dict[tuple[str, str], float | str | MissingSignalError] = {}
        self._failure: BaseException | None = None
        self._activation: Any = None

    @cached_property
    def shares(self) -> WeightShares:
        """Where the weight of the attribution lies.

        Raises:
            MissingSignalError: the call has no attribution.
        """
        if self.attribution is None:
            raise MissingSignalError("the call has no attribution: llm-trace attribute makes one")
        variables = {} if self.call.prompt is None else self.call.prompt.variables
        return WeightShares(self.attribution, variables, self.template)

    def ask(self, function: str, argument: str) -> float | str:
        """Return the answer of a function of conditions.

        Raises:
            MissingSignalError: it is not known.
        """
        key = (function, argument)
        if key not in self._answers:
            if len(self._answers) >= MOST_ASKED:
                raise MissingSignalError(f"the conditions ask more than {MOST_ASKED} things of one call")
            try:
                self._answers[key] = self._find_answer(function, argument)
            except MissingSignalError as exc:
                self._answers[key] = exc
            except BaseException as exc:  # CEL would make it an unknown
                self._failure = exc
                raise
        answer = self._answers[key]
        if isinstance(answer, MissingSignalError):
            raise answer
        return answer

    def raise_failure(self) -> None:
        """Raise what went wrong while a function was answered, if anything did."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def get_activation(self, make: Callable[[dict[str, Any]], Any]) -> Any:
        """Return what `make` makes of the names that conditions know, made once; what is not known has no
        name.
        """
        if self._activation is None:
            values = {**_list_call_names(self.call), **self._list_attribution_names()}
            self._activation = make({name: value for name, value in values.items() if value is not None})
        return self._activation

    def _find_answer(self, function: str, argument: str) -> float | str:
        if function in ("score", "label"):
            return self._find_score(argument, as_number=function == "score")
        if function == "share_matching":
            return self.shares.measure_words(match_words(argument, (w.text for w in self.shares.words)))
        measure = {
            "share": self.shares.measure_text,
            "share_of_variable": self.shares.measure_variable,
            "share_of_line": self.shares.measure_line,
            "share_of_chunk": self.shares.measure_chunk,
            "share_of_origin": self.shares.measure_origin,
        }[function]
        return measure(argument)

    def _find_score(self, name: str, *, as_number: bool) -> float | str:
        score = next((score for score in reversed(self.scores) if score.name == name), None)
        if score is None:
            raise MissingSignalError(f"the call has no score {name!r}")
        if as_number and (isinstance(score.value, str) or not math.isfinite(score.value)):
            raise MissingSignalError(f"the score {name!r} is {score.value!r}, which is no number")
        return float(score.value) if as_number else str(score.value)

    def _list_attribution_names(self) -> dict[str, Any]:
        if self.attribution is None:
            return {}
        return {
            "attribution.method": self.attribution.method,
            "attribution.verdict": self.attribution.verdict,
        }


def read_known_calls(store: Store, calls: Sequence[Call]) -> list[KnownCall]:
    """Return what a store knows of calls, in their order.

    Of several attributions the newest that is evidence counts, or else the newest. Scores of a call that
    lies around one count for it where it has none of that name itself.
    """
    ids = [call.span_id for call in calls]
    rows = store.sql(_ATTRIBUTIONS, ids)
    attributions = {row[0]: build_attribution(dict(zip(rows.columns, row, strict=True))) for row in rows}
    scores = _read_scores(store, ids)
    templates = {(name, version): template for name, version, template in store.sql(_TEMPLATES)}
    return [
        KnownCall(
            call,
            attributions.get(call.span_id),
            scores[call.span_id],
            None if call.prompt is None else templates.get((call.prompt.name, call.prompt.version)),
        )
        for call in calls
    ]


def _read_scores(store: Store, ids: Sequence[str]) -> Mapping[str, list[Score]]:
    """Return the scores of calls and of those around them: outermost first, then oldest first."""
    above: dict[str, list[str]] = defaultdict(list)
    for leaf, span_id in store.sql(_PARENTS, ids):
        above[leaf].append(span_id)
    own: dict[str, list[Score]] = defaultdict(list)
    result = store.sql(_SCORES, sorted({span_id for spans in above.values() for span_id in spans}))
    for row in result:
        own[row[result.columns.index("span_id")]].append(
            build_score_record(dict(zip(result.columns, row, strict=True)))
        )
    return {leaf: [s for span_id in reversed(above[leaf]) for s in own[span_id]] for leaf in ids}


def _list_call_names(call: Call) -> dict[str, Any]:
    usage, prompt = call.usage, call.prompt
    return {
        "call.name": call.name,
        "call.kind": call.kind,
        "call.status": call.status,
        "call.model": call.model,
        "call.provider": call.provider,
        "call.session": call.session,
        "call.user": call.user,
        "call.run": call.run,
        "call.error": "" if call.error is None else call.error.type,
        "call.question": _join_texts(m.text for m in call.messages_in) or _write(call.input),
        "call.answer": _join_texts(m.text for m in call.messages_out) or _write(call.output),
        "call.tags": list(call.tags),
        "call.metadata": call.metadata,
        "call.params": call.params,
        "call.seconds": None if call.duration_ns is None else call.duration_ns / 1e9,
        "call.cost_usd": call.cost_usd,
        "call.input_tokens": None if usage is None else usage.input_tokens,
        "call.output_tokens": None if usage is None else usage.output_tokens,
        "prompt.name": None if prompt is None else prompt.name,
        "prompt.version": None if prompt is None else prompt.version,
        "prompt.variables": None if prompt is None else prompt.variables,
    }


def _join_texts(texts: Iterable[str]) -> str:
    return "\n".join(text for text in texts if text)


def _write(value: Any) -> str | None:
    """Return a value as text: the only argument of a call as it is, all else as JSON; `None` of nothing."""
    if isinstance(value, dict) and len(value) == 1 and isinstance(text := next(iter(value.values())), str):
        return text
    return None if value is None else write_text(value)
