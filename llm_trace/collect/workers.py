"""Several processes that take OTLP behind one port; uvicorn starts them, and anew those that die."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llm_trace.collect.app import build_collector
from llm_trace.collect.intake import SharedIntake, claim_index
from llm_trace.collect.server import configure_uvicorn, limit_repeats

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from llm_trace.collect.receiver import Receiver

_PARENT_S = 1.0


@dataclass(frozen=True)
class WorkerPlan:
    """What each worker is built by, in its own process."""

    build_receiver: Callable[[], Receiver]
    token: str | None
    count: int
    folder: Path
    """Of the workers' sockets; only this user can open it."""
    parent: int
    """Process id of what started them; without it they end."""

    def __call__(self) -> Starlette:
        """Return the application of this process."""
        limit_repeats()
        receiver = self.build_receiver()
        place = contextlib.ExitStack()
        place.enter_context(contextlib.closing(receiver.spool))
        intake = SharedIntake(
            receiver, place.enter_context(claim_index(self.folder, self.count)), self.count, self.folder
        )

        @contextlib.asynccontextmanager
        async def live(_: Starlette) -> AsyncIterator[None]:
            watch = asyncio.create_task(_end_with(self.parent))
            with place:
                async with intake.serve():
                    yield
                watch.cancel()
                receiver.close()
            if os.getppid() != self.parent:  # it was killed, and could not clean up
                shutil.rmtree(self.folder, ignore_errors=True)

        return build_collector(intake, receiver.limits, self.token, live)


async def _end_with(parent: int) -> None:
    while os.getppid() == parent:  # noqa: ASYNC110  # a process that was killed sets no event
        await asyncio.sleep(_PARENT_S)
    signal.raise_signal(signal.SIGTERM)  # requests under way are answered first


def serve_workers(
    build_receiver: Callable[[], Receiver], listener: socket.socket, token: str | None, count: int
) -> None:
    """Take spans in `count` processes until SIGINT or SIGTERM; requests under way are answered first.

    Args:
        build_receiver: called once in each process, to which it is sent by pickle.
    """
    from uvicorn.supervisors import Multiprocess

    with tempfile.TemporaryDirectory(prefix="llm-trace-") as folder:
        plan = WorkerPlan(build_receiver, token, count, Path(folder), os.getpid())
        config = configure_uvicorn(plan, workers=count, factory=True, lifespan="on")
        Multiprocess(config, [listener]).run()
