"""Follow the files of all writers and hand on what is whole: ended calls, and what is said of them."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from llm_trace.errors import ConfigurationError
from llm_trace.exporters import events
from llm_trace.exporters.delivery.cursor import Cursor, CursorPlace, Waiting, get_writer
from llm_trace.exporters.delivery.memory import Memory
from llm_trace.exporters.delivery.spool_reader import Lines
from llm_trace.exporters.protocol import Event
from llm_trace.pricing.book import open_price_book
from llm_trace.semconv.merge import drop_counts
from llm_trace.spool.files import FORMAT, SpoolFile, find_live_writers, list_spool_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from llm_trace.pricing.book import PriceBook

_log = logging.getLogger("llm_trace")
Group = list[Event]
"""What must stay together: the calls of a trace, or one event."""

_MOST_GIVEN = 1_000
_MOST_PASSED = 32 << 20
"""Bytes of lines that complete nothing after which the cursor may be saved all the same."""


class Reader:
    """Reads a spool from a cursor on, and moves it; what is held in memory does not grow with what waits.

    Args:
        folder: the spool folder.
        cursor: where to begin.
        whole_traces: hold calls back until the root of their trace has ended, or no call of it is open.
    """

    def __init__(self, folder: Path, cursor: Cursor, *, whole_traces: bool = False) -> None:
        self._folder = folder
        self._cursor = cursor
        self._whole = whole_traces
        self._lines: dict[str, Lines] = {}
        self._memory = Memory()
        self._recalled = not cursor.read
        """Whether the memory has what was read before this reader began: it is read again when a line
        refers to it.
        """
        self._passed = 0
        self._prices: PriceBook | None = None
        self._members: defaultdict[str, dict[str, Waiting]] = defaultdict(dict)
        """Calls that are not handed on, by trace."""
        self._open: Counter[str] = Counter()
        """How many of them are open, by trace."""
        for span_id, call in cursor.waiting.items():
            self._join(span_id, call)

    def close(self) -> None:
        """Let go of the files."""
        for lines in self._lines.values():
            lines.close()
        self._lines.clear()

    def groups(self) -> Iterator[Group]:
        """Yield what the spool holds by now, in the order in which it was written; the cursor is behind
        what was yielded last. After many lines that complete nothing an empty group is yielded.
        """
        self._prices = _open_prices()
        files = [file for file in list_spool_files(self._folder) if file.format <= FORMAT]
        for file in files:
            yield from self._follow(file)
        yield from self._interrupt_calls(find_live_writers(files))
        self._forget_gone(files)

    def _follow(self, file: SpoolFile) -> Iterator[Group]:
        takes = self._cursor.takes(file)
        name, begin = self._cursor.read.get(file.writer, (file.name, 0))
        if name > file.name:
            return
        begin = begin if name == file.name else 0
        if begin < file.size and (lines := self._open_lines(file.name)) is not None:
            for offset, after, event in lines.events(begin, file.size):
                self._cursor.read[file.writer] = (file.name, after)
                group: Group = []
                if event and takes:
                    group = self._take(event, (file.name, offset))
                elif event:
                    self._memory.pass_over(event)
                self._passed = 0 if group else self._passed + after - offset
                if group or self._passed > _MOST_PASSED:
                    self._passed = 0
                    yield group
        if not file.live:  # a torn last line is nothing
            self._cursor.finished[file.writer] = file.name
            self._cursor.read[file.writer] = (file.name, file.size)

    def _take(self, event: dict[str, Any], place: CursorPlace) -> Group:
        """Return what a line completes."""
        if not self._recalled and self._refers_to_past(event):
            self._recall(place)
        event = self._refer_to_whole(event)
        kind, span_id = event.get("event"), event.get("span_id")
        if span_id in self._memory.others:
            return []
        if kind in ("score", "attribution") and self._is_waiting(span_id):
            self._cursor.waiting[str(span_id)].said.append(place)
            return []
        if kind == "prompt":
            self._keep_template(event)
        if kind not in ("start", "end"):
            other = events.build_other_event(event, self._cursor.runs, self._memory.traces)
            return [] if other is None else [other]
        if not isinstance(span_id, str):
            return []
        call = self._cursor.waiting.get(span_id)
        if kind == "start":
            if call is None:
                self._begin(
                    span_id, Waiting(str(event.get("trace_id")), event.get("parent_id") is None, place)
                )
            return []
        if call is None:
            call = Waiting(str(event.get("trace_id")), root=False, start=None)
            self._begin(span_id, call)
        if call.end is not None:
            return []
        call.end = place
        group = self._replace_calls(span_id, event)
        if isinstance(around := event.get("inside"), str) and around not in self._memory.traces:
            call.inside = around  # not handed on before it is known whether that is the same call
            return group
        return [*group, *self._close_call(span_id, call)]

    def _replace_calls(self, span_id: str, end: dict[str, Any]) -> Group:
        """Forget the calls in whose place an ended one stands; return others that waited for it."""
        waiting = self._cursor.waiting[span_id]
        for other in end.get("same") or ():
            waiting.same += self._forget(str(other), span_id)
        free = [(s, c) for s, c in self._cursor.waiting.items() if c.inside == span_id]
        events_in_place: Group = []
        for inner, call in free:
            call.inside = None
            events_in_place += self._close_call(inner, call)
        return events_in_place

    def _forget(self, span_id: str, whole: str) -> list[CursorPlace]:
        """Let go of a call that another stands for; return where it and those that it stood for are told."""
        call = self._cursor.waiting.get(span_id)
        if span_id not in self._memory.traces:
            self._memory.stands_for[span_id] = whole
        if call is None or call.state == "given":
            return []
        del self._cursor.waiting[span_id]
        self._cursor.waiting[whole].said += call.said
        self._open[call.trace] -= call.state == "open"
        self._members[call.trace].pop(span_id, None)
        return [place for place in (call.start, call.end, *call.same) if place is not None]

    def _refer_to_whole(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return a score or attribution as one of the call that stands for the one it names."""
        span_id = event.get("span_id")
        if event.get("event") not in ("score", "attribution") or not isinstance(span_id, str):
            return event
        whole = self._memory.find_whole(span_id)
        return event if whole == span_id else {**event, "span_id": whole}

    def _refers_to_past(self, event: dict[str, Any]) -> bool:
        """Return whether a line names a call that this reader has not seen."""
        kind, ids = event.get("event"), [event.get("span_id")]
        if kind == "end":
            ids += [event.get("inside"), *(event.get("same") or ())]
        elif kind not in ("score", "attribution"):
            return False
        seen = (self._cursor.waiting, self._memory.traces)
        return any(isinstance(each, str) and not any(each in calls for calls in seen) for each in ids)

    def _recall(self, current: CursorPlace) -> None:
        self._recalled = True
        waiting = {span_id for span_id, call in self._cursor.waiting.items() if call.state != "given"}
        self._memory.recall(self._read_past(current), waiting)

    def _read_past(self, current: CursorPlace) -> Iterator[dict[str, Any]]:
        """Yield what was for this destination before a line, of files that are still there."""
        read = {**self._cursor.read, get_writer(current): current}
        for file in list_spool_files(self._folder):
            name, end = read.get(file.writer, ("", 0))
            if file.format > FORMAT or file.name > name or (lines := self._open_lines(file.name)) is None:
                continue
            for _, _, event in lines.events(0, end if file.name == name else file.size):
                if event and self._cursor.takes(file):
                    yield event
                elif event:
                    self._memory.pass_over(event)

    def _keep_template(self, event: dict[str, Any]) -> None:
        templates, version, template = self._cursor.templates, event.get("version"), event.get("template")
        if isinstance(version, str) and isinstance(template, str):
            templates[version] = template
        while len(templates) > _MOST_GIVEN:
            del templates[next(iter(templates))]

    def _is_waiting(self, span_id: object) -> bool:
        """Say whether a call is not handed on yet, so that what is said about it has to wait too."""
        call = self._cursor.waiting.get(span_id) if isinstance(span_id, str) else None
        return call is not None and call.state != "given"

    def _begin(self, span_id: str, call: Waiting) -> None:
        self._cursor.waiting[span_id] = call
        self._join(span_id, call)

    def _join(self, span_id: str, call: Waiting) -> None:
        if call.state != "given":
            self._members[call.trace][span_id] = call
            self._open[call.trace] += call.state == "open"

    def _close_call(self, span_id: str, call: Waiting) -> Group:
        """Return what can be handed on now that a call has ended, or can no longer end."""
        if call.state == "given":
            return self._hand_on([span_id], call.trace)
        self._open[call.trace] -= call.state == "open"
        call.state = "closed"
        if not self._whole:
            return self._hand_on([span_id], call.trace)
        if not call.root and self._open[call.trace]:
            return []
        members = self._members[call.trace].items()
        return self._hand_on([s for s, member in members if member.state == "closed"], call.trace)

    def _hand_on(self, spans: list[str], trace: str) -> Group:
        members, group = self._members[trace], []
        for span_id in spans:
            call = self._cursor.waiting.pop(span_id)
            members.pop(span_id, None)
            event = self._build_event(span_id, call)
            if event is not None:
                group.append(event)
                counted = not event.data.keys().isdisjoint(("usage", "cost_usd"))
                self._memory.hand_on(span_id, trace, counted=counted)
                group += self._collect_remarks(call)
            if call.end is None:
                call.state = "given"
                self._cursor.waiting[span_id] = call
        if not members:
            del self._members[trace], self._open[trace]
        return group

    def _collect_remarks(self, call: Waiting) -> Group:
        """Return the scores and attributions that waited for a call."""
        lines = [self._refer_to_whole(self._read_line(place)[0]) for place in call.said]
        call.said = []
        others = [events.build_other_event(line, self._cursor.runs, self._memory.traces) for line in lines]
        return [event for event in others if event is not None]

    def _build_event(self, span_id: str, call: Waiting) -> Event | None:
        """Return a call's event; `None` where its start was purged, or its file went after it was sent."""
        start, started = self._read_line(call.start)
        end, ended = self._read_line(call.end)
        if call.start is not None and start.get("event") != "start":
            return None
        try:
            event = events.build_call_event(span_id, start, end, started, ended)
            accounts = [self._read_line(place) for place in call.same]
            whole = self._with_template(self._count_once(events.with_messages(event, accounts), end))
            return whole if self._prices is None else events.with_cost(whole, self._prices)
        except (LookupError, TypeError, ValueError, AttributeError):  # a line that is not as the format says
            return Event("call", span_id, {**start, **end})

    def _count_once(self, call: Event, end: dict[str, Any]) -> Event:
        """Return a call that stands for others, without tokens where one of them was handed on before."""
        counted = next((other for other in end.get("same") or () if other in self._memory.counted), None)
        return call if counted is None else Event("call", call.id, drop_counts(call.data, counted))

    def _with_template(self, call: Event) -> Event:
        """Return a call with the template of its prompt, where that was seen."""
        prompt = call.data.get("prompt")
        if not isinstance(prompt, dict) or (version := prompt.get("version")) not in self._cursor.templates:
            return call
        prompt = {**prompt, "template": self._cursor.templates[version]}
        return Event("call", call.id, {**call.data, "prompt": prompt})

    def _read_line(self, place: CursorPlace | None) -> tuple[dict[str, Any], Lines | None]:
        lines = None if place is None else self._open_lines(place[0])
        return ({}, None) if lines is None or place is None else (lines.at(place[1]), lines)

    def _open_lines(self, name: str) -> Lines | None:
        if name not in self._lines:
            try:
                self._lines[name] = Lines(self._folder / name)
            except FileNotFoundError:  # removed by hand
                return None
        return self._lines[name]

    def _interrupt_calls(self, live: set[str]) -> Iterator[Group]:
        """Yield calls that are open while their writer has gone."""
        gone = [(s, c) for s, c in self._cursor.waiting.items() if c.state == "open" and c.writer not in live]
        for span_id, call in gone:
            call.inside = None
            group = self._close_call(span_id, call)
            if group:
                yield group

    def _forget_gone(self, files: list[SpoolFile]) -> None:
        """Forget writers and files that have gone, and the oldest of many interrupted calls."""
        waiting, present = self._cursor.waiting, {file.name: file for file in files}
        delivered = [span_id for span_id, call in waiting.items() if call.state == "given"]
        for span_id in delivered[:-_MOST_GIVEN]:
            del waiting[span_id]
        writers = {file.writer for file in files}
        for writer in [w for w in self._cursor.read if w not in writers]:
            del self._cursor.read[writer]
            self._cursor.finished.pop(writer, None)
        used = {
            place[0]
            for call in waiting.values()
            for place in (call.start, call.end, *call.said, *call.same)
            if place is not None
        }
        for name in [n for n in self._lines if n not in used and not (n in present and present[n].live)]:
            self._lines.pop(name).close()


def _open_prices() -> PriceBook | None:
    try:
        return open_price_book()
    except ConfigurationError as exc:
        _log.warning("llm_trace: calls are delivered without a cost: %s", exc)
        return None
