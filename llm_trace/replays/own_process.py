"""A process of its own for work that imports functions: one request in, one answer out."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TypeVar

import orjson
from pydantic import ValidationError

from llm_trace import config
from llm_trace.errors import LLMTraceError, ReplayError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from llm_trace.record import Record

OwnRequest = TypeVar("OwnRequest")


def check_place(store: Path, function: str) -> None:
    """Refuse a program that records elsewhere: nobody would see the new run.

    Raises:
        ReplayError: it does.
    """
    if config.current is not None and config.current.store.resolve() != store.resolve():
        raise ReplayError(
            f"importing {function} configures llm_trace for {str(config.current.store)!r}, while "
            f"{str(store)!r} is shown: show that store instead, or configure only where the program starts"
        )


def answer_once(
    parse: Callable[[bytes], OwnRequest],
    run: Callable[[OwnRequest], Record],
    refuse: Callable[[str], Record],
) -> None:
    """Read a request from standard input, do what it asks and write the answer to standard output.

    What functions print goes to standard error.

    Args:
        parse: reads the request.
        run: does what it asks.
        refuse: makes the answer where that cannot be done, of the reason.
    """
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        answer = run(parse(sys.stdin.buffer.read()))
    except (LLMTraceError, ValidationError, ValueError) as exc:
        answer = refuse(str(exc))
    answers.write(orjson.dumps(answer.model_dump(mode="json")))
    answers.close()
    config.shutdown()
