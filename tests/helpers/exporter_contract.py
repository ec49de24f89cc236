"""What every exporter must keep: a subclass names an address, a strict server's answers and how that
server counts; the rest is here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from email.utils import formatdate
from pathlib import Path
from typing import ClassVar

import pytest

import llm_trace
from llm_trace.exporters.delivery.cursor import get_cursor_path
from llm_trace.exporters.delivery.delivery import Delivery
from llm_trace.exporters.delivery.rejected import Rejected
from llm_trace.exporters.delivery.status import Standing, get_standing
from llm_trace.exporters.delivery.transport import Patience
from llm_trace.exporters.registry import make_exporter
from tests.helpers.loopback import Fault, Loopback, Received, Reply
from tests.helpers.spool_toys import HandWriter, span, spool_of

PATIENCE = Patience(first=0.01, longest=0.05, connect=1.0, answer=0.3)


class ExporterContract(ABC):
    """Subclass it as `TestName` and give the four answers; `settings` is named where a key is refused."""

    settings: ClassVar[str]
    """A setting that the message about a refused key must name."""

    @abstractmethod
    def address(self, server: Loopback) -> str:
        """Return an address that leads to the server."""

    def environment(self, server: Loopback) -> Mapping[str, str]:
        """Return the environment variables that the address needs."""
        return {}

    @abstractmethod
    def answer(self, request: Received) -> Reply:
        """Answer as the platform does: nothing that it would refuse is taken."""

    @abstractmethod
    def spans(self, request: Received) -> list[str]:
        """Return the span ids of the calls in a request, in order; empty for a request that carries none."""

    # What a test needs

    @pytest.fixture
    def server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
        with Loopback(self.answer) as server:
            for name, value in self.environment(server).items():
                monkeypatch.setenv(name, value)
            yield server

    @pytest.fixture
    def spool(self, tmp_path: Path) -> HandWriter:
        return HandWriter(spool_of(tmp_path / "t.duckdb"))

    @pytest.fixture
    def delivery(self, server: Loopback, spool: HandWriter) -> Iterator[Delivery]:
        yield from self._delivery(server, spool, PATIENCE)

    @pytest.fixture
    def patient(self, server: Loopback, spool: HandWriter) -> Iterator[Delivery]:
        """A delivery that waits as long for an answer as users' do."""
        yield from self._delivery(server, spool, Patience())

    def _delivery(self, server: Loopback, spool: HandWriter, patience: Patience) -> Iterator[Delivery]:
        delivery = Delivery(spool.folder, make_exporter(self.address(server)), patience=patience)
        assert delivery.claim()
        yield delivery
        delivery.stop()
        delivery.close()

    def list_arrived(self, server: Loopback) -> list[str]:
        """Return the span ids that the server took, in order, repeats included."""
        return [span_id for request in list(server.received) for span_id in self.spans(request)]

    def stands(self, delivery: Delivery, spool: HandWriter) -> Standing:
        return get_standing(spool.folder, delivery.name)

    # Order and repetition

    def test_calls_arrive_once_and_in_order(
        self, server: Loopback, spool: HandWriter, delivery: Delivery
    ) -> None:
        for number in range(1, 8):
            spool.call(number)
            delivery.step()
        assert self.list_arrived(server) == [span(number) for number in range(1, 8)]
        assert not delivery.step()
        stands = self.stands(delivery, spool)
        assert (stands.delivered, stands.pending, stands.rejected, stands.dropped) == (7, 0, 0, 0)

    def test_ten_thousand_calls_arrive(self, server: Loopback, spool: HandWriter, patient: Delivery) -> None:
        for number in range(1, 10_001):
            spool.call(number)
        assert self.stands(patient, spool).pending == 10_000
        patient.step()
        assert self.list_arrived(server) == [span(number) for number in range(1, 10_001)]
        assert self.stands(patient, spool).delivered == 10_000

    @pytest.mark.parametrize("fault", ["hang", "reset", "drip"])
    def test_a_connection_that_fails_is_tried_again(
        self, server: Loopback, spool: HandWriter, delivery: Delivery, fault: Fault
    ) -> None:
        spool.call(1)
        server.next += [fault, fault]
        delivery.step()
        assert self.list_arrived(server) == [span(1)]
        assert self.stands(delivery, spool).said == ""

    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
    def test_a_server_in_trouble_is_tried_again(
        self, server: Loopback, spool: HandWriter, delivery: Delivery, status: int
    ) -> None:
        spool.call(1)
        server.next += [Reply(status), Reply(status, b"<html>busy")]
        delivery.step()
        assert self.list_arrived(server) == [span(1)]

    def test_a_server_that_asks_for_time_gets_it(
        self, server: Loopback, spool: HandWriter, delivery: Delivery
    ) -> None:
        spool.call(1)
        server.next += [Reply(429, headers={"retry-after": "0.4"})]
        begin = time.monotonic()
        delivery.step()
        assert time.monotonic() - begin >= 0.4
        assert self.list_arrived(server) == [span(1)]

    @pytest.mark.parametrize("date", [-86_400, "nonsense"])
    def test_a_server_whose_clock_is_wrong_delays_nothing(
        self, server: Loopback, spool: HandWriter, delivery: Delivery, date: int | str
    ) -> None:
        retry_after = date if isinstance(date, str) else formatdate(time.time() + date, usegmt=True)
        spool.start(1)
        spool.end(1, end_ns=1)  # and a host whose clock went back
        server.next += [Reply(503, headers={"retry-after": retry_after, "date": formatdate(0, usegmt=True)})]
        delivery.step()
        assert self.list_arrived(server) == [span(1)]

    # What is refused

    def test_what_the_server_refuses_is_set_aside_with_the_reason_and_nothing_else(
        self, server: Loopback, spool: HandWriter, delivery: Delivery
    ) -> None:
        bad = span(3)
        server.answer = self._refusing(lambda spans: bad in spans, Reply(400, b'{"message": "no such luck"}'))
        for number in range(1, 8):
            spool.call(number)
        delivery.step()
        taken = Rejected(get_cursor_path(spool.folder, delivery.name))
        assert [event.id for event in taken.events()] == [bad]
        assert b"no such luck" in taken.path.read_bytes()
        stands = self.stands(delivery, spool)
        assert (stands.delivered, stands.pending, stands.rejected) == (6, 0, 1)
        server.answer = self.answer
        assert delivery.retry_rejected() == (1, 0)
        assert set(self.list_arrived(server)) == {span(number) for number in range(1, 8)}
        assert (self.stands(delivery, spool).delivered, self.stands(delivery, spool).rejected) == (7, 0)
        assert taken.events() == []

    def test_a_wrong_key_keeps_the_calls_and_names_the_setting(
        self, server: Loopback, spool: HandWriter, delivery: Delivery
    ) -> None:
        spool.call(1)
        server.answer = lambda _: Reply(401, b'{"message": "who are you?"}')
        delivery.step()
        stands = self.stands(delivery, spool)
        assert (stands.delivered, stands.pending, stands.rejected) == (0, 1, 0)
        assert stands.refused
        assert self.settings in stands.said
        server.answer = self.answer
        delivery.step()
        assert (self.stands(delivery, spool).pending, self.stands(delivery, spool).said) == (0, "")

    def test_an_answer_that_no_platform_gives_keeps_the_calls(
        self, server: Loopback, spool: HandWriter, delivery: Delivery
    ) -> None:
        spool.call(1)
        server.answer = lambda _: Reply(200, b"<html>a proxy", {"content-type": "text/html"})
        threading.Timer(0.3, delivery.stop).start()
        delivery.step()
        stands = self.stands(delivery, spool)
        assert (stands.delivered, stands.pending, stands.rejected) == (0, 1, 0)
        assert stands.said

    def test_a_request_that_is_too_large_is_halved(
        self, server: Loopback, spool: HandWriter, delivery: Delivery
    ) -> None:
        server.answer = self._refusing(lambda spans: len(spans) > 3, Reply(413))
        for number in range(1, 12):
            spool.call(number)
        delivery.step()
        done = [s for r in server.received if len(accepted := self.spans(r)) <= 3 for s in accepted]
        assert done == [span(number) for number in range(1, 12)]
        assert self.stands(delivery, spool).delivered == 11

    def test_a_value_that_nothing_can_hold_stops_no_other(
        self, server: Loopback, spool: HandWriter, delivery: Delivery
    ) -> None:
        spool.call(1)
        spool.raw(
            b'{"event":"start","span_id":"%b","trace_id":"%032x","start_ns":"soon","name":7,"kind":{}}\n'
            % (span(2).encode(), 2)
        )
        spool.raw(
            b'{"event":"end","span_id":"%b","status":"ok","output":"\\ud800","usage":3}\n' % span(2).encode()
        )
        spool.raw(b"\xff\xfe no line\n[1]\n{}\n")
        spool.call(3, output=float("nan"))
        spool.call(4, metadata={"big": 2**80, "c": [None, {}, -0.0]})
        delivery.step()
        stands = self.stands(delivery, spool)
        assert (stands.delivered + stands.rejected, stands.pending) == (4, 0)
        assert {span(1), span(3), span(4)} <= set(self.list_arrived(server))

    def _refusing(self, wrong: Callable[[list[str]], bool], reply: Reply) -> Callable[[Received], Reply]:
        return lambda request: reply if wrong(self.spans(request)) else self.answer(request)

    # Who dies, and when

    def test_a_server_that_was_down_gets_every_call(
        self, server: Loopback, spool: HandWriter, delivery: Delivery
    ) -> None:
        server.__exit__(None, None, None)
        for number in range(1, 31):
            spool.call(number)
        threading.Timer(0.2, delivery.stop).start()
        delivery.step()
        assert self.stands(delivery, spool).pending == 30
        assert self.stands(delivery, spool).said
        delivery.close()
        with Loopback(self.answer, port=server.port) as again:
            second = Delivery(spool.folder, make_exporter(self.address(again)), patience=PATIENCE)
            assert second.claim()
            second.step()
            second.close()
            assert self.list_arrived(again) == [span(number) for number in range(1, 31)]

    def test_tls_that_fails_keeps_the_calls(self, server: Loopback, spool: HandWriter) -> None:
        exporter = make_exporter(self.address(server))
        exporter.base = exporter.base.replace("http:", "https:")
        delivery = Delivery(spool.folder, exporter, patience=PATIENCE)
        assert delivery.claim()
        spool.call(1)
        threading.Timer(0.2, delivery.stop).start()
        delivery.step()
        stands = self.stands(delivery, spool)
        delivery.close()
        assert (stands.delivered, stands.pending) == (0, 1)
        assert "SSL" in stands.said

    def test_one_process_delivers_at_a_time(
        self, server: Loopback, spool: HandWriter, delivery: Delivery
    ) -> None:
        second = Delivery(spool.folder, make_exporter(self.address(server)), patience=PATIENCE)
        assert not second.claim()
        delivery.close()
        assert second.claim()
        second.close()

    def test_a_process_killed_between_the_answer_and_the_cursor_loses_nothing(
        self, server: Loopback, spool: HandWriter
    ) -> None:
        for number in range(1, 41):
            spool.call(number)
        spool.close()
        for _ in range(3):
            self._kill_at_an_answer(server, spool)
        self._deliver_all(server, spool)
        assert set(self.list_arrived(server)) == {span(number) for number in range(1, 41)}
        name = make_exporter(self.address(server)).name
        assert (get_standing(spool.folder, name).delivered, get_standing(spool.folder, name).pending) == (
            40,
            0,
        )

    def _kill_at_an_answer(self, server: Loopback, spool: HandWriter) -> None:
        """Let a process deliver and kill it when calls have arrived, before it has the answer."""
        came = threading.Event()
        gone = threading.Event()

        def answer(request: Received) -> Reply:
            if self.spans(request):
                came.set()
                gone.wait(60)
            return self.answer(request)

        server.answer = answer
        process = self._process(server, spool)
        assert came.wait(60)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        gone.set()
        server.answer = self.answer

    def _deliver_all(self, server: Loopback, spool: HandWriter) -> None:
        assert self._process(server, spool).wait(60) == 0

    def _process(self, server: Loopback, spool: HandWriter) -> subprocess.Popen[bytes]:
        """Start the process that delivers; it leaves when all is delivered, for the writer has gone."""
        store = str(spool.folder).removesuffix(".spool")
        variables = {**os.environ, **self.environment(server), "LLM_TRACE_EXPORTERS": self.address(server)}
        return subprocess.Popen(
            [sys.executable, "-m", "llm_trace.exporters.delivery.daemon", store], env=variables
        )

    def test_shutdown_waits_for_no_server_and_the_next_process_carries_on(
        self, server: Loopback, tmp_path: Path
    ) -> None:
        server.answer = lambda _: Reply(503)
        llm_trace.configure(tmp_path / "s.duckdb", exporters=(self.address(server),))
        name = make_exporter(self.address(server)).name
        for number in range(5):
            with llm_trace.span("ask", kind="llm") as call:
                call.set(output=f"{number}!")
        report = llm_trace.flush(0.1)
        assert (report.destinations[name].delivered, report.destinations[name].pending) == (0, 5)
        assert not report.ok
        begin = time.monotonic()
        llm_trace.shutdown()
        assert time.monotonic() - begin < 60  # the server never takes it
        server.answer = self.answer
        llm_trace.configure(tmp_path / "s.duckdb", exporters=(self.address(server),))
        report = llm_trace.flush(60)
        assert (report.destinations[name].delivered, report.destinations[name].pending) == (5, 0)
        with llm_trace.open_store(tmp_path / "s.duckdb") as store:
            assert {call.span_id for call in store.calls()} == set(self.list_arrived(server))
