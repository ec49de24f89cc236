"""Who may ask over HTTP: only this machine, only with the token, and no page in a browser."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, Response

from llm_trace.viewer.guard import LoopbackGuard

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.datastructures import Headers
    from starlette.types import ASGIApp, Scope


class TokenGuard(LoopbackGuard):
    """Lets in who gives the token as `Authorization: Bearer`.

    Args:
        hosts: the values of `Host` under which the server is asked.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: Collection[str]) -> None:
        super().__init__(app, hosts)
        self._expected = f"Bearer {token}".encode()

    def _refuse_stranger(self, scope: Scope, headers: Headers, host: str) -> Response | None:  # noqa: ARG002
        if headers.get("origin", f"http://{host}") != f"http://{host}":
            return PlainTextResponse("pages of other origins may not ask\n", 403)
        if hmac.compare_digest(headers.get("authorization", "").encode(), self._expected):
            return None
        return PlainTextResponse(
            "give the token that llm-trace mcp printed: Authorization: Bearer TOKEN\n",
            401,
            {"WWW-Authenticate": "Bearer"},
        )
