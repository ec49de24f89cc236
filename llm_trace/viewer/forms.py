"""Forms that pages send: done in a thread, answered by the page to go to or by what was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from llm_trace.errors import LLMTraceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

LONGEST = 64_000
"""Bytes of a form."""


async def answer_form(
    request: Request, act: Callable[[dict[str, str]], str], longest: int = LONGEST
) -> Response:
    """Do what a form asks for.

    Args:
        act: takes the fields and returns the address to go to; an `LLMTraceError` is shown.
        longest: bytes beyond which a form is refused.
    """
    body = await request.body()
    if len(body) > longest:
        return PlainTextResponse("the form is too long\n", 413)
    form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    try:
        address = await run_in_threadpool(act, form)
    except LLMTraceError as exc:
        return PlainTextResponse(f"{exc}\n", 400)
    return RedirectResponse(address, 303)
