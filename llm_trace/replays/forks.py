"""`fork`: a run again from one of its calls on with one thing changed there, as often as one likes."""

from __future__ import annotations

import importlib.util
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llm_trace.errors import MissingExtraError, ReplayError
from llm_trace.replays.alteration import Alteration
from llm_trace.replays.forking import begin_forking

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    from llm_trace.record import Run
    from llm_trace.replays.forking import Forking, Rerun
    from llm_trace.replays.roots import Function
    from llm_trace.statistics.paired import Estimate
    from llm_trace.stores.duckdb import Store


@dataclass(frozen=True)
class Fork:
    """What came of a change at one call of a run."""

    fork_of: str
    """Id of the run, or `span_id` of the root that belonged to none."""
    fork_at: str
    """`span_id` of the call that was changed."""
    name: str
    """Its name."""
    change: dict[str, Any]
    reruns: tuple[Rerun, ...]
    control: tuple[Rerun, ...] = ()
    """As many runs from the same call on without the change."""

    @property
    def run(self) -> Run:
        """The first run with the change."""
        return self.reruns[0].run

    @property
    def runs(self) -> list[Run]:
        """All runs with the change."""
        return [rerun.run for rerun in self.reruns]

    @property
    def estimate(self) -> Estimate | None:
        """How often the program ended as recorded without the change (`a`) and with it (`b`), run by run;
        `None` without control runs.
        """
        if not self.control:
            return None
        import numpy as np

        from llm_trace.statistics.paired import estimate

        a, b = (np.array([float(r.equal) for r in part]) for part in (self.control, self.reruns))
        return estimate(a, b)

    def summary(self) -> str:
        """Return what the change did, in two or three sentences."""
        kind = next(iter(self.change))
        equal, n = sum(r.equal for r in self.reruns), len(self.reruns)
        text = (
            f"Forked at {self.name} ({self.fork_at}) with its {kind.replace('_', ' ')} changed: {equal} of "
            f"{n} {'run' if n == 1 else 'runs'} ended as recorded"
        )
        if (estimate := self.estimate) is not None:
            text += f", without the change {sum(r.equal for r in self.control)} of {n}"
            text += _describe_bounds(estimate)
        places = Counter((r.divergence or "nowhere").partition("\n")[0] for r in self.reruns)
        where = "; ".join(f"{place} ({count} of {n})" for place, count in places.most_common(3))
        text += f". It first went another way: {where}."
        missing = sum(bool(r.report.not_replayable or r.report.divergence) for r in self.reruns)
        if missing:
            text += (
                f" {missing} of {n} asked for a tool that was not to run: see config['replay'] of the runs."
            )
        return text + _describe_failures(self.reruns)

    def __str__(self) -> str:
        return self.summary()


def _describe_bounds(estimate: Estimate) -> str:
    if estimate.p_value is None or estimate.low is None or estimate.high is None:
        return " (no difference seen)"
    return (
        f" (a difference of {estimate.difference:+.0%}, {estimate.low:+.0%} to {estimate.high:+.0%}, "
        f"p = {estimate.p_value:.2g})"
    )


def _describe_failures(reruns: Sequence[Rerun]) -> str:
    """Return in how many runs a model failed that did not fail then, with the first error."""
    failures = [error for rerun in reruns if (error := _find_model_error(rerun)) is not None]
    if not failures:
        return ""
    return f" In {len(failures)} of {len(reruns)} a model failed ({failures[0]}): fork again when it answers."


def _find_model_error(rerun: Rerun) -> str | None:
    for call in rerun.calls:
        if call.kind == "llm" and not (call.taped is not None and call.taped.status == "error"):
            error = call.event.get("error")
            if call.event.get("status") == "error" and error is not None:
                return f"{str(error.get('type')).rpartition('.')[2]}: {error.get('message')}"
    return None


def fork(
    run: str | Run | Sequence[str],
    fork_at: str,
    change: Mapping[str, Any],
    *,
    repeats: int = 1,
    control: bool = False,
    store: str | os.PathLike[str] | Store | None = None,
    overrides: Mapping[str, Any] | None = None,
    functions: str | Function | Iterable[str | Function] = (),
    serve: Iterable[str] = (),
    live: Iterable[str] = (),
    pace: bool = False,
    clock: bool = False,
) -> Fork:
    """Run a recorded program again from one of its calls on with one thing changed there; return what came
    of it.

    What began before the call is answered from the record, what comes after it runs. First the program is run
    up to the call once, without paying, to see that it comes there as it did.

    Args:
        run: a run (of which the root that holds the call is run), the `span_id` of a call around it, or
            several roots, which are run up to the one that holds it.
        fork_at: `span_id` of the call.
        change: one of `output` (what the call gives instead of being made), `output_text` (old to new texts
            in what it gave), `arguments` (by name), `messages` (index to a message, its new text, or `None`
            for one that is left out) and `input_text` (old to new texts in what it was asked).
        repeats: how many runs.
        control: make as many runs from the same call on without the change, to tell it from chance.
        store: as for `replay`, and so are `functions`, `pace` and `clock`.
        overrides: of what runs after the record: `model`, `params`, `prompt`, `code`; and `arguments` of the
            roots that the record does not hold.
        serve: names of tools that answer from the record after the fork too, where they are asked the same.
        live: names of tools that may run after the fork; others are not run.

    Raises:
        NotFoundError: the store has no such run, or the run no such call.
        DivergenceError: before the call the program asks something else than it did.
        ReplayError: the change cannot be made, tools would run that were not named, a function is missing.
    """
    if repeats < 1:
        raise ReplayError(f"repeats {repeats} is too few: at least 1")
    if control and not (importlib.util.find_spec("numpy") and importlib.util.find_spec("scipy")):
        raise MissingExtraError("bounds need numpy and scipy: pip install 'llm-trace[statistics]'")
    alteration = Alteration.of(fork_at, change)
    options: dict[str, Any] = {"store": store, "overrides": overrides, "functions": functions}
    options |= {"serve": serve, "live": live, "pace": pace, "clock": clock}
    with begin_forking(run, fork_at, **options) as forking:
        name = forking.recording.tape.calls[fork_at].name
        forking.check(forking.branch_off(alteration))
        about = {"at": fork_at, "name": name, "set": alteration.as_json()}
        reruns = _run_often(forking, alteration, repeats, about)
        beside = _run_often(forking, alteration.undo(), repeats, about | {"set": {}}) if control else ()
        result = Fork(forking.fork_of, fork_at, name, alteration.as_json(), reruns, beside)
        return _keep_summary(forking, result) if repeats > 1 else result


def _run_often(
    forking: Forking, alteration: Alteration, repeats: int, about: Mapping[str, Any]
) -> tuple[Rerun, ...]:
    branch = forking.branch_off(alteration)
    return tuple(forking.rerun(branch, n, {**about, "repeat": n + 1}) for n in range(repeats))


def _keep_summary(forking: Forking, result: Fork) -> Fork:
    """Write what came of a fork into the configuration of its first run."""
    first = result.reruns[0]
    settings = {**first.run.config, "fork": {**first.run.config["fork"], "summary": result.summary()}}
    forking.recorder.event({"event": "run", "id": first.run.id, "config": settings})
    first = replace(first, run=first.run.model_copy(update={"config": settings}))
    return replace(result, reruns=(first, *result.reruns[1:]))
