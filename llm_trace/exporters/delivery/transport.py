"""Get events across, whatever the server answers: retried, halved or set aside, never dropped."""

from __future__ import annotations

import random
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from llm_trace.exporters.protocol import DeliveryVerdict, Event, HttpAnswer
from llm_trace.times import parse_retry_after

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_trace.exporters.protocol import Certificates, Exporter, Request

Groups = Sequence[list[Event]]

_MOST_ANSWER = 1 << 20
"""Bytes of an answer that are read, after decompression."""
_ENCODINGS = "gzip, deflate"
_LONGEST_WAIT_S = 300.0


class StoppedError(Exception):
    """Sending was given up: what was not answered counts as not sent."""


class DestinationRefusedError(Exception):
    """The destination takes nothing until a setting is changed."""


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds."""

    first: float = 0.5
    """Before the first repetition; doubled each time."""
    longest: float = 30.0
    connect: float = 5.0
    answer: float = 30.0
    """For an answer to begin, and half of what it may take in all."""


@dataclass
class Sent:
    """What became of events."""

    delivered: int = 0
    rejected: int = 0

    def add(self, other: Sent) -> None:
        """Count others in."""
        self.delivered += other.delivered
        self.rejected += other.rejected


class Sender:
    """Sends to one destination, one request at a time.

    Args:
        exporter: the destination.
        set_aside: keeps an event that is refused for good, with the reason.
        say: is told what stands in the way, and `""` when that is over.
        stop: set from elsewhere to give up.
        patience: how long to wait for what.
    """

    def __init__(
        self,
        exporter: Exporter,
        *,
        set_aside: Callable[[Event, str], None],
        say: Callable[[str], None] = lambda _: None,
        stop: threading.Event | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._exporter = exporter
        self._set_aside = set_aside
        self._say = say
        self._stop = stop or threading.Event()
        self._patience = patience or Patience()
        limits = httpx.Timeout(self._patience.answer, connect=self._patience.connect)
        self._client = httpx.Client(
            timeout=limits, verify=_build_verification(exporter), headers={"Accept-Encoding": _ENCODINGS}
        )
        self._probed = False

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def send(self, groups: Groups) -> Sent:
        """Send groups of events; returns when each is answered for.

        Raises:
            RefusedError: the destination takes nothing at all.
            StoppedError: `stop` was set.
        """
        self._probe()
        events = [event for group in groups for event in group]
        try:
            requests = self._exporter.requests(events)
        except Exception as exc:  # noqa: BLE001  one event must not stop the others
            return self._send_halves(groups, f"it cannot be encoded: {type(exc).__name__}: {exc}")
        longest = max((len(request.body) for request in requests), default=0)
        if longest > self._exporter.max_bytes:
            return self._send_halves(
                groups, f"{longest} bytes are more than the {self._exporter.max_bytes} allowed"
            )
        return self._send(groups, requests)

    def _send(self, groups: Groups, requests: list[Request]) -> Sent:
        rejected = 0
        for index, request in enumerate(requests):
            verdict = self._deliver(request)
            if verdict.outcome in ("split", "rejected"):
                sent = _list_ids(requests[:index]) - (left := _list_ids(requests[index:]))
                rest = [[event for event in group if _get_id(event) in left] for group in groups]
                result = Sent(len(sent))
                result.add(self._send_halves([group for group in rest if group], verdict.reason))
                return result
            if verdict.rejected and verdict.rejected >= len(request.events):
                return self._send_halves(groups, verdict.reason)
            if verdict.rejected:
                self._say(verdict.reason)
            rejected += verdict.rejected
        return Sent(len(_list_ids(requests)) - rejected, rejected)

    def _send_halves(self, groups: Groups, reason: str) -> Sent:
        """Send each half on its own; what cannot be halved is set aside."""
        if len(groups) == 1 and not self._exporter.whole_traces:
            groups = [[event] for event in groups[0]]
        if len(groups) > 1:
            middle = len(groups) // 2
            sent = self.send(groups[:middle])
            sent.add(self.send(groups[middle:]))
            return sent
        for event in groups[0] if groups else ():
            self._set_aside(event, reason)
        return Sent(rejected=sum(map(len, groups)))

    def _probe(self) -> None:
        if not self._probed and (request := self._exporter.probe()) is not None:
            verdict = self._deliver(request)
            if verdict.outcome != "delivered":
                raise DestinationRefusedError(verdict.reason)
        self._probed = True

    def _deliver(self, request: Request) -> DeliveryVerdict:
        """Send one request until there is an answer that is not to be waited over."""
        troubled = False
        for pause in self._pauses():
            verdict, wait = self._ask(request)
            if verdict.outcome == "refused":
                raise DestinationRefusedError(verdict.reason)
            if verdict.outcome != "retry":
                if troubled:
                    self._say("")
                return verdict
            troubled = True
            self._say(verdict.reason)
            if self._stop.wait(max(wait, pause)):
                break
        raise StoppedError

    def _pauses(self) -> Iterator[float]:
        pause = self._patience.first
        while not self._stop.is_set():
            yield pause * random.uniform(0.5, 1.0)
            pause = min(pause * 2, self._patience.longest)

    def _ask(self, request: Request) -> tuple[DeliveryVerdict, float]:
        """Return what the answer means, and how many seconds the server wants to be left alone."""
        try:
            answer = self._answer(request)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, ValueError) as exc:
            where = f"{self._exporter.name}: the request cannot be made: {exc}; check address and headers"
            return DeliveryVerdict("refused", where), 0.0
        except (httpx.HTTPError, OSError) as exc:
            reason = str(exc) or type(exc).__name__
            return DeliveryVerdict("retry", f"{self._exporter.base} gives no answer: {reason}"), 0.0
        if len(answer.body) > _MOST_ANSWER and answer.status < 300:
            return DeliveryVerdict(
                "retry", f"the answer of {self._exporter.base} is longer than {_MOST_ANSWER:,} bytes"
            ), 0.0
        try:
            return self._exporter.judge(request, answer), _retry_after(answer)
        except Exception as exc:  # noqa: BLE001  an answer of no known form
            return DeliveryVerdict(
                "retry", f"the answer of {self._exporter.base} cannot be read: {exc!r}"
            ), 0.0

    def _answer(self, request: Request) -> HttpAnswer:
        url = self._exporter.base.rstrip("/") + "/" + request.path.lstrip("/")
        headers = {**self._exporter.headers, **request.headers}
        deadline = time.monotonic() + 2 * self._patience.answer
        with self._client.stream(request.method, url, content=request.body, headers=headers) as response:
            body, decode = bytearray(), _build_decoder(response.headers.get("content-encoding", ""))
            for piece in response.iter_raw():
                body += decode(piece, _MOST_ANSWER + 1 - len(body))
                if len(body) > _MOST_ANSWER:
                    break
                if time.monotonic() > deadline or self._stop.is_set():
                    raise httpx.ReadTimeout("the answer takes too long")
            lower = {name.lower(): value for name, value in response.headers.items()}
            return HttpAnswer(response.status_code, lower, bytes(body))


def _build_decoder(encoding: str) -> Callable[[bytes, int], bytes]:
    """Return what decodes the next piece of a body to at most so many bytes: a small body may hold a lot."""
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        return lambda piece, most: piece[:most]
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)  # told apart by the header

    def decode(piece: bytes, most: int) -> bytes:
        try:
            return decoder.decompress(piece, most)
        except zlib.error as exc:
            raise httpx.DecodingError(f"its body is not {encoding}: {exc}") from exc

    return decode


def _build_verification(exporter: Exporter) -> ssl.SSLContext | bool:
    """Return how the server's certificate is checked; loading certificates takes a while."""
    certificates: Certificates | None = getattr(exporter, "certificates", None)
    if certificates is None or not exporter.base.startswith("https:"):
        return exporter.base.startswith("https:")
    context = ssl.create_default_context(cafile=certificates.authority)
    if certificates.own is not None:
        context.load_cert_chain(certificates.own, certificates.key)
    return context


def _get_id(event: Event) -> tuple[str, str]:
    return event.kind, event.id


def _list_ids(requests: Sequence[Request]) -> set[tuple[str, str]]:
    return {_get_id(event) for request in requests for event in request.events}


def _retry_after(answer: HttpAnswer) -> float:
    """Return a Retry-After header, perhaps a date, in seconds; at most five minutes, for clocks differ."""
    seconds = parse_retry_after(answer.headers.get("retry-after", ""))
    return min(max(seconds or 0.0, 0.0), _LONGEST_WAIT_S)
