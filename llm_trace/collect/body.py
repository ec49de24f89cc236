"""The body of a request, as OTLP/HTTP carries it: protobuf or JSON, perhaps gzipped, never more than a limit."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request

PROTOBUF, JSON = "application/x-protobuf", "application/json"


class RefusedError(Exception):
    """A request that is not taken.

    Args:
        status: the HTTP status.
        message: what to do about it.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def content_type(request: Request) -> str:
    """Return the encoding of the body, which is the answer's too."""
    told = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if told not in (PROTOBUF, JSON):
        raise RefusedError(415, f"content-type {told!r} is not understood: send {PROTOBUF} or {JSON}")
    return told


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body, decompressed; nothing beyond the limit is kept in memory."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "", "gzip"):
        raise RefusedError(415, f"content-encoding {encoding!r} is not understood: send gzip or none")
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > limit:
            raise _too_large(limit)
    return _unzipped(bytes(raw), limit) if encoding == "gzip" else bytes(raw)


def _unzipped(raw: bytes, limit: int) -> bytes:
    """Return what gzip packed; a small body that unpacks to a huge one is left packed."""
    made = bytearray()
    while raw:
        unpack = zlib.decompressobj(wbits=31)
        try:
            made += unpack.decompress(raw, limit + 1 - len(made))
        except zlib.error as exc:
            raise RefusedError(400, f"the body is no gzip: {exc}") from exc
        if len(made) > limit:
            raise _too_large(limit)
        if not unpack.eof:
            raise RefusedError(400, "the body's gzip ends too early")
        raw = unpack.unused_data
    return bytes(made)


def _too_large(limit: int) -> RefusedError:
    return RefusedError(413, f"the body has more than {limit:,} bytes: send smaller batches")
