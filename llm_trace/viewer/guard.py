"""Who may ask: only this machine's browser, after the printed link, from pages of the viewer itself."""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "llm_trace_view"
_READING = ("GET", "HEAD")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With `no-referrer` browsers send the forms of these very pages with `Origin: null`.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class LoopbackGuard:
    """Lets a request through to the application, or answers why not; what it asks for is a subclass's.

    Args:
        hosts: the values of `Host` under which the server is asked: pages that come by another name, as after
            DNS rebinding, are refused.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self._refuse(scope)
        await (refusal or self._app)(scope, receive, send_guarded)

    def _refuse(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if host not in self._hosts:
            return PlainTextResponse(f"this server answers to {', '.join(sorted(self._hosts))}\n", 421)
        return self._refuse_stranger(scope, headers, host)

    def _refuse_stranger(self, scope: Scope, headers: Headers, host: str) -> Response | None:
        raise NotImplementedError


class Guard(LoopbackGuard):
    """Lets in the browser that followed the printed link.

    The token of that link works once: it is changed for a cookie that ends with the browser.

    Args:
        hosts: the values of `Host` under which the viewer is asked.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: Collection[str]) -> None:
        super().__init__(app, hosts)
        self._link: str | None = token
        self._session = secrets.token_urlsafe(32)

    def _refuse_stranger(self, scope: Scope, headers: Headers, host: str) -> Response | None:
        origin = headers.get("origin")
        if origin not in (None, f"http://{host}"):
            return PlainTextResponse(f"pages of {origin} may not ask: only the viewer's own may\n", 403)
        if scope["method"] not in _READING and origin is None:
            return PlainTextResponse("only the viewer's own pages may change something\n", 403)
        if self._is_known(scope, host):
            return None
        return self._take_link(scope, host) or PlainTextResponse(
            "this page needs the link that llm-trace view printed, which works once; "
            "start llm-trace view again for a new one\n",
            401,
        )

    def _is_known(self, scope: Scope, host: str) -> bool:
        cookie = HTTPConnection(scope).cookies.get(_name_cookie(host), "")
        return hmac.compare_digest(cookie.encode(), self._session.encode())

    def _take_link(self, scope: Scope, host: str) -> Response | None:
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        token = dict(query).get("token", "")
        if self._link is None or not hmac.compare_digest(token.encode(), self._link.encode()):
            return None
        self._link = None
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        path = "/" + str(scope["path"]).lstrip("/")
        answer = RedirectResponse(f"{path}?{rest}" if rest else path, 303)
        answer.set_cookie(_name_cookie(host), self._session, httponly=True, samesite="strict")
        return answer


def _name_cookie(host: str) -> str:
    """Return the name of a viewer's cookie; browsers send those of every port to each."""
    return f"{COOKIE}_{host.rpartition(':')[2]}"
