"""The body of a request, as OTLP/HTTP carries it: protobuf or JSON, perhaps gzipped, within a limit."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request

PROTOBUF, JSON = "application/x-protobuf", "application/json"


class RequestRefusedError(Exception):
    """A request that is not taken.

    Args:
        status: the HTTP status.
        message: what to do about it.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def get_content_type(request: Request) -> str:
    """Return the encoding of the body, which is the answer's too."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in (PROTOBUF, JSON):
        raise RequestRefusedError(
            415, f"content-type {content_type!r} is not understood: send {PROTOBUF} or {JSON}"
        )
    return content_type


class Reading:
    """The bodies that are being read, of all senders together.

    Args:
        most: bytes that they may hold in memory.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.bytes = 0

    def add(self, count: int) -> None:
        """Count what came.

        Raises:
            RefusedError: that is too much at once; the sender keeps its spans and tries again.
        """
        self.bytes += count
        if self.bytes > self.most:
            raise RequestRefusedError(
                503, f"more than {self.most:,} bytes are being received: try again later"
            )


async def read_body(request: Request, limit: int, reading: Reading) -> bytes:
    """Return the body, decompressed; nothing beyond the limits is kept in memory."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "", "gzip"):
        raise RequestRefusedError(415, f"content-encoding {encoding!r} is not understood: send gzip or none")
    raw = bytearray()
    try:
        async for chunk in request.stream():
            raw += chunk
            reading.add(len(chunk))
            if len(raw) > limit:
                raise _refuse_large(limit)
    finally:
        reading.bytes -= len(raw)
    return _unzip(bytes(raw), limit) if encoding == "gzip" else bytes(raw)


def _unzip(raw: bytes, limit: int) -> bytes:
    """Return what gzip packed; a small body that unpacks to a huge one is left packed."""
    body = bytearray()
    while raw:
        unpack = zlib.decompressobj(wbits=31)
        try:
            body += unpack.decompress(raw, limit + 1 - len(body))
        except zlib.error as exc:
            raise RequestRefusedError(400, f"the body is no gzip: {exc}") from exc
        if len(body) > limit:
            raise _refuse_large(limit)
        if not unpack.eof:
            raise RequestRefusedError(400, "the body's gzip ends too early")
        raw = unpack.unused_data
    return bytes(body)


def _refuse_large(limit: int) -> RequestRefusedError:
    return RequestRefusedError(413, f"the body has more than {limit:,} bytes: send smaller batches")
