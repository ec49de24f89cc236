"""Monitors: what moved among the calls, noticed soon, with a stated rate of false alarms."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.errors import ConfigurationError
from llm_trace.operations.alarm_targets import read_target
from llm_trace.operations.alarms import Alarm, Sending, send_alarm
from llm_trace.operations.log import read_operations
from llm_trace.operations.monitors_reader import MetricReader
from llm_trace.operations.monitors_values import MetricKind, MetricReading, WatchedMetric
from llm_trace.operations.monitors_words import LevelForm, find_grown, write_movement
from llm_trace.operations.names import collect_texts
from llm_trace.record import Record
from llm_trace.statistics.change_detection import LEARN, SMALLEST, ChangeDetector, LevelChange
from llm_trace.stores.duckdb import Store, open_store
from llm_trace.stores.filters import Filter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from llm_trace.statistics.floats import Floats

FALSE_ALARMS = 1e-4
"""A call, of all monitors together."""
RANKED: tuple[MetricKind, ...] = ("latency", "cost")
"""Metrics of which more and less counts, not by how many points."""
_LABELS = 10
"""Labels of a score, at most, whose rates are followed."""


class Movement(Record):
    """A change that a monitor noticed."""

    metric: str
    text: str
    """In a sentence."""
    before: float
    """The level before the change: the mean of rates, shares and scores between 0 and 1, else the median."""
    after: float
    """The same from the change to where it was noticed."""
    rises: bool
    change_ns: int
    """When it changed, as it is estimated."""
    noticed_ns: int
    span_id: str
    """The first call after the change, as it is estimated."""
    delay: int
    """Values from the change to where it was noticed."""
    causes: tuple[str, ...] = ()
    """What became common with it: a prompt's version, a model, a method of attribution."""


class MonitorState(Record):
    """How far a monitor is."""

    metric: str
    values: int
    """That it has had since it began, or since its last alarm."""
    is_learning: bool
    """It has too few values to notice anything."""
    block: int
    """Values that are taken together, since each resembles its neighbours: noticing takes longer so."""


class Monitor:
    """Follows one metric."""

    def __init__(self, metric: WatchedMetric, learn: int, smallest: float) -> None:
        self.metric = metric
        self._learn, self._smallest = learn, smallest
        self._readings: list[MetricReading] = []
        self._values: list[float] = []
        self._begin()

    @property
    def state(self) -> MonitorState:
        """How far it is."""
        return MonitorState(
            metric=str(self.metric),
            values=len(self._values),
            is_learning=self._detector.is_learning,
            block=self._detector.block,
        )

    @property
    def counts(self) -> bool:
        """Whether it has enough values to raise an alarm, a false one too."""
        return len(self._values) >= self._learn

    def take(self, reading: MetricReading, value: float) -> None:
        """Keep a value for the next look."""
        self._readings.append(reading)
        self._values.append(value)

    def look(self, limit: float) -> Iterator[tuple[LevelChange, list[MetricReading], Floats]]:
        """Yield each change with the readings and values up to where it was noticed; begin anew after it."""
        while len(self._values) > self._detector.count:
            change = self._detector.feed(np.array(self._values[self._detector.count :]), limit)
            if change is None:
                return
            seen = change.noticed + 1
            yield change, self._readings[:seen], np.array(self._values[:seen])
            self._readings, self._values = self._readings[seen:], self._values[seen:]
            self._begin()

    def _begin(self) -> None:
        self._detector = ChangeDetector(
            learn=self._learn, smallest=self._smallest, ranked=self.metric.kind in RANKED
        )


class Monitors:
    """The monitors of what comes in, one for each metric and for each label.

    Args:
        false_alarms: the rate, a call, of all of them together.
    """

    def __init__(self, false_alarms: float, learn: int, smallest: float) -> None:
        self._false_alarms = false_alarms
        self._settings = (learn, smallest)
        self._monitors: dict[WatchedMetric, Monitor] = {}
        self._labelled: defaultdict[WatchedMetric, list[MetricReading]] = defaultdict(list)

    @property
    def states(self) -> list[MonitorState]:
        """How far each is."""
        return [monitor.state for monitor in self._monitors.values()]

    def take(self, reading: MetricReading) -> None:
        """Keep a reading for the next look."""
        if isinstance(reading.value, str):
            self._take_label(reading, reading.value)
        else:
            self._get(reading.metric).take(reading, reading.value)

    def look(self) -> Iterator[tuple[WatchedMetric, LevelChange, list[MetricReading], Floats]]:
        """Yield what moved in what was taken."""
        count = sum(monitor.counts for monitor in self._monitors.values())
        for metric, monitor in self._monitors.items():
            for change, readings, values in monitor.look(count / self._false_alarms):
                yield metric, change, readings, values

    def _get(self, metric: WatchedMetric) -> Monitor:
        if metric not in self._monitors:
            self._monitors[metric] = Monitor(metric, *self._settings)
        return self._monitors[metric]

    def _take_label(self, reading: MetricReading, label: str) -> None:
        """Follow the rate of each label; one that is new had the rate 0 until now."""
        metric = reading.metric._replace(part=label)
        labels = [m for m in self._monitors if m.part and m[:2] == metric[:2]]
        if metric not in self._monitors and len(labels) < _LABELS:
            labels.append(metric)
            for earlier in self._labelled[reading.metric]:
                self._get(metric).take(earlier, 0.0)
        self._labelled[reading.metric].append(reading)
        for each in labels:
            self._get(each).take(reading, float(each == metric))


class Watch:
    """Looks at a store time and again, and sends an alarm for what moved; made by `watch`."""

    def __init__(
        self, store: Store, reader: MetricReader, monitors: Monitors, targets: Sequence[str], timeout: float
    ) -> None:
        self._store = store
        self._reader = reader
        self._monitors = monitors
        self._targets = tuple(targets)
        self._timeout = timeout
        self.movements: list[Movement] = []
        """All that moved, in the order in which it was noticed."""
        self.sendings: list[Sending] = []
        """What became of their alarms."""

    @property
    def states(self) -> list[MonitorState]:
        """How far each monitor is."""
        return self._monitors.states

    @property
    def left_out(self) -> int:
        """Values that are no finite number, and times below zero, as a clock gives that is put back."""
        return self._reader.left_out

    @property
    def missed(self) -> int:
        """Rows that came so late, by their own clock, that they could not be told from earlier ones."""
        return self._reader.missed

    def look(self) -> list[Movement]:
        """Read what is new and return what moved; its alarms are on their way."""
        self._store.ingest()
        for reading in self._reader.read():
            self._monitors.take(reading)
        moved = sorted(
            (self._describe(*each) for each in self._monitors.look()), key=lambda each: each.noticed_ns
        )
        self.movements += moved
        self._send(moved)
        return moved

    def _describe(
        self, metric: WatchedMetric, change: LevelChange, readings: list[MetricReading], values: Floats
    ) -> Movement:
        before, after = values[: change.first], values[change.first :]
        first = readings[change.first]
        causes = self._find_causes(readings[: change.first], readings[change.first :])
        form, levels = _measure_levels(metric, before, after, rises=change.rises)
        text = write_movement(
            metric, levels, form, first.time_ns, causes, rises=change.rises, now_s=time.time()
        )
        return Movement(
            metric=str(metric), text=text, before=levels[0], after=levels[1], rises=change.rises,
            change_ns=first.time_ns, noticed_ns=readings[-1].time_ns, span_id=first.span_id,
            delay=len(after), causes=causes,
        )  # fmt: skip

    def _find_causes(self, before: list[MetricReading], after: list[MetricReading]) -> tuple[str, ...]:
        causes = []
        prompt, version = find_grown(
            [(r.prompt, r.version) for r in before], [(r.prompt, r.version) for r in after]
        ) or (None, None)
        if version is not None:
            numbers = {(p.name, p.version): f"v{p.number}" for p in self._store.prompts(halfway=True)}
            causes.append(f"prompt {prompt} {numbers.get((str(prompt), version), version)}")
        model = find_grown([r.model for r in before], [r.model for r in after])
        method = find_grown([r.method for r in before], [r.method for r in after])
        causes += [f"model {model}"] if model else []
        causes += [f"the method {method}"] if method else []
        return tuple(causes)

    def _send(self, moved: list[Movement]) -> None:
        before = read_operations(self._store, kind="alarm") if moved else []
        raised = [(o.subject, o.body) for o in before if o.body.get("state") == "raised"]
        for movement in moved:
            same = [
                body for subject, body in raised if subject == movement.metric and _is_same(movement, body)
            ]
            alarm = Alarm(
                subject=movement.metric, text=movement.text, details=movement.model_dump(mode="json"),
                key=str(same[0]["key"]) if same else f"{movement.metric}@{movement.change_ns}",
            )  # fmt: skip
            self.sendings.append(
                send_alarm(alarm, self._targets, store=self._store.path, timeout=self._timeout)
            )


def _is_same(movement: Movement, raised: dict[str, Any]) -> bool:
    """Whether an alarm was about the same change: in the same direction, and the stretches from the change
    to where it was noticed overlap.
    """
    other = raised.get("details") or {}
    try:
        overlaps = other["change_ns"] <= movement.noticed_ns and movement.change_ns <= other["noticed_ns"]
    except (KeyError, TypeError):
        return False
    return bool(overlaps and other.get("rises") == movement.rises)


def _measure_levels(
    metric: WatchedMetric, before: Floats, after: Floats, *, rises: bool
) -> tuple[LevelForm, tuple[float, float]]:
    """Return the levels before and after a change, and how they are told; where medians do not show a change
    that ranks have shown, means.
    """
    form = _choose_form(metric, np.concatenate([before, after]))
    medians = float(np.median(before)), float(np.median(after))
    if form == "median" and medians[0] != medians[1] and rises == (medians[1] > medians[0]):
        return form, medians
    return "mean" if form == "median" else form, (float(before.mean()), float(after.mean()))


def _choose_form(metric: WatchedMetric, values: Floats) -> LevelForm:
    if metric.kind in RANKED or not ((values >= 0) & (values <= 1)).all():
        return "median"
    is_binary = bool(np.isin(values, (0, 1)).all())
    return "mean" if metric.kind == "score" and not metric.part and not is_binary else "percent"


def watch(
    store: Store | str | os.PathLike[str] = "llm_trace.duckdb",
    *,
    name: str | None = None,
    prompt: str | None = None,
    kind: str | None = "llm",
    model: str | None = None,
    tag: str | None = None,
    since: Any = None,
    where: str | None = None,
    texts: Iterable[str] | str = (),
    targets: Iterable[str] | str = (),
    false_alarms: float = FALSE_ALARMS,
    learn: int = LEARN,
    smallest: float = SMALLEST,
    timeout: float = 10.0,
) -> Watch:
    """Return what moved among the calls so far; its `look()` says what moved since.

    Of each function the rates of errors and refusals, latency and cost; of each score its level, or the rate
    of each label; of each prompt the share of the weight on each variable and chunk, and the rate of each
    verdict of its attributions; of each gate the rate of each decision. The first `learn` values of each say
    how they are spread. While nothing changes, of all monitors together at most `false_alarms` alarms a call
    are raised, whatever the distributions; values that resemble their neighbours are taken in blocks.

    Args:
        store: the store, or its path.
        name, prompt, kind, model, tag, since, where: only these calls; as `Store.calls` takes them.
        texts: words of the prompts whose share of the weight is followed too.
        targets: where alarms go, as `send_alarm` takes them; each gets an alarm once, whoever watches.
        false_alarms: above 0, at most 0.01.
        learn: at least 30.
        smallest: the change worth noticing, on a scale of 0 to 1 (of ranks for other values).
        timeout: seconds for one try to send an alarm.

    Raises:
        ConfigurationError: a setting cannot work, or a target means nothing.
        StoreNotFoundError: there is no store.
    """
    if not 0 < false_alarms <= 0.01:
        raise ConfigurationError(f"false_alarms={false_alarms!r} is no rate above 0, at most 0.01 a call")
    if learn < 30:
        raise ConfigurationError(f"learn={learn!r} is too few values to learn from: give 30 or more")
    if not 0 < smallest <= 0.5:
        raise ConfigurationError(f"smallest={smallest!r} is no change between 0 and 0.5")
    addresses = collect_texts(targets)
    for address in addresses:
        read_target(address)
    opened = store if isinstance(store, Store) else open_store(store)
    chosen = Filter.of(
        since=since, where=where, tag=tag, name=name, kind=kind, model=model, prompt_name=prompt
    )
    monitors = Monitors(false_alarms, learn, smallest)
    reader = MetricReader(opened, chosen, collect_texts(texts))
    watching = Watch(opened, reader, monitors, addresses, timeout)
    watching.look()
    return watching
