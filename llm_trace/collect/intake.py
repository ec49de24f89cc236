"""Where what came in is taken: by this process, or by the one of several whose it is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pickle
import struct
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from llm_trace.collect.receiver import Receiver, SpoolFullError, Taken, TakenRecords
from llm_trace.semconv.agents import find_agent
from llm_trace.semconv.completed_span import EndedSpan

if TYPE_CHECKING:
    from llm_trace.collect.logs import LogRecord
    from llm_trace.collect.points import DataPoint

_log = logging.getLogger("llm_trace.collect")
NamedSpan = tuple[str, EndedSpan | str]
"""The name of a span, and the span, or why it cannot be read."""
_Kind = Literal["spans", "logs", "points"]
_LENGTH = struct.Struct(">Q")
_WAIT_S = 10.0
"""For a worker that is being started again."""
_TRY_S = 0.1
FIRST = 0
"""The worker that takes all of coding agents: their logs, metrics and spans tell of the same calls."""


class Intake(Protocol):
    """Takes what requests bring; its functions raise `SpoolFullError` where nothing can be written."""

    async def take(self, spans: Iterable[NamedSpan]) -> Taken:
        """Write spans."""
        ...

    async def take_logs(self, records: Iterable[LogRecord | None]) -> TakenRecords:
        """Write what log records say of calls."""
        ...

    async def take_metrics(self, points: Iterable[DataPoint | None]) -> TakenRecords:
        """Write what metrics say of calls."""
        ...


@dataclass(frozen=True)
class OwnIntake:
    """Takes all in this process."""

    receiver: Receiver

    async def take(self, spans: Iterable[NamedSpan]) -> Taken:
        """Write spans."""
        return self.receiver.take(spans)

    async def take_logs(self, records: Iterable[LogRecord | None]) -> TakenRecords:
        """Write what log records say of calls."""
        return self.receiver.take_logs(records)

    async def take_metrics(self, points: Iterable[DataPoint | None]) -> TakenRecords:
        """Write what metrics say of calls."""
        return self.receiver.take_metrics(points)


@dataclass(frozen=True)
class SharedIntake:
    """Takes what is this worker's, and hands the rest to the others over sockets that only this user opens.

    Spans of one trace go to one worker, whoever sent them to whom, so that what several spans tell of one
    call still becomes one call, and a span that comes twice one line.
    """

    receiver: Receiver
    index: int
    """Of this worker."""
    count: int
    folder: Path
    """Where the workers' sockets are."""
    _links: dict[int, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=dict)
    _turns: dict[int, asyncio.Lock] = field(default_factory=dict)

    async def take(self, spans: Iterable[NamedSpan]) -> Taken:
        """Write the spans of this worker's traces, and let the others write theirs."""
        shares: dict[int, list[NamedSpan]] = {}
        for name, span in spans:
            owner = self.index if isinstance(span, str) else choose_worker(span, self.count)
            shares.setdefault(owner, []).append((name, span))
        taking = (self._take_by(owner, "spans", share) for owner, share in shares.items())
        parts: list[Taken] = await asyncio.gather(*taking)
        return Taken(
            sum(part.spans for part in parts),
            sum(part.rejected for part in parts),
            next((part.reason for part in parts if part.reason), ""),
        )

    async def take_logs(self, records: Iterable[LogRecord | None]) -> TakenRecords:
        """Let the first worker write what log records say of calls."""
        taken: TakenRecords = await self._take_by(FIRST, "logs", list(records))
        return taken

    async def take_metrics(self, points: Iterable[DataPoint | None]) -> TakenRecords:
        """Let the first worker write what metrics say of calls."""
        taken: TakenRecords = await self._take_by(FIRST, "points", list(points))
        return taken

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Take what other workers hand over, as long as the context lasts."""
        path = self._locate(self.index)
        path.unlink(missing_ok=True)  # of a worker that died
        server = await asyncio.start_unix_server(self._answer, path)
        try:
            yield
        finally:
            server.close()
            for _, writer in self._links.values():
                writer.close()

    def _locate(self, index: int) -> Path:
        return self.folder / f"{index}.sock"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                kind, things = await _read_message(reader)
                try:
                    answer: Any = self._write(kind, things)
                except SpoolFullError as exc:
                    answer = exc
                await _send_message(writer, answer)
        writer.close()

    def _write(self, kind: _Kind, things: list[Any]) -> Any:
        if kind == "spans":
            return self.receiver.take(things)
        return self.receiver.take_logs(things) if kind == "logs" else self.receiver.take_metrics(things)

    async def _take_by(self, owner: int, kind: _Kind, things: list[Any]) -> Any:
        if owner == self.index:
            return self._write(kind, things)
        async with self._turns.setdefault(owner, asyncio.Lock()):
            try:
                async with asyncio.timeout(_WAIT_S):
                    answer = await self._ask(owner, (kind, things))
            except TimeoutError:
                raise SpoolFullError(f"worker {owner} does not answer: the sender tries again") from None
        if isinstance(answer, SpoolFullError):
            raise answer
        return answer

    async def _ask(self, owner: int, message: Any) -> Any:
        """Return a worker's answer; one that died is waited for, and asked again: repeats do no harm."""
        while True:
            try:
                if owner not in self._links:
                    self._links[owner] = await asyncio.open_unix_connection(self._locate(owner))
                reader, writer = self._links[owner]
                await _send_message(writer, message)
                return await _read_message(reader)
            except (OSError, asyncio.IncompleteReadError):
                self._drop(owner)
                await asyncio.sleep(_TRY_S)
            except asyncio.CancelledError:  # its answer would be taken for that of the next
                self._drop(owner)
                raise

    def _drop(self, owner: int) -> None:
        if (link := self._links.pop(owner, None)) is not None:
            link[1].close()


def choose_worker(span: EndedSpan, count: int) -> int:
    """Return the index of the worker whose a span is: that of its trace, the first one's of coding agents."""
    if find_agent(span.name, span.scope, span.attributes) is not None:
        return FIRST
    return int(span.trace_id, 16) % count


async def _send_message(writer: asyncio.StreamWriter, message: Any) -> None:
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    writer.write(_LENGTH.pack(len(body)) + body)
    await writer.drain()


async def _read_message(reader: asyncio.StreamReader) -> Any:
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return pickle.loads(await reader.readexactly(length))  # from our own processes only


@contextlib.contextmanager
def claim_index(folder: Path, count: int) -> Iterator[int]:
    """Give this process the first free place among the workers, which it has until it ends.

    Raises:
        RuntimeError: all places are taken.
    """
    import fcntl

    for index in range(count):
        held = os.open(folder / f"{index}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(held)
            continue
        try:
            if before := os.read(held, 20):
                _log.warning(
                    "worker %d (process %s) died and was started again", index, before.decode().strip()
                )
            os.pwrite(held, f"{os.getpid():<20}".encode(), 0)
            yield index
            os.ftruncate(held, 0)  # it ended as it should
        finally:
            os.close(held)
        return
    raise RuntimeError(f"all {count} workers are there already")
