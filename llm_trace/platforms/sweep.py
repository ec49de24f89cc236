"""Read what a platform lists by start time, round after round, each record once and when it has ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from llm_trace.platforms.client import PlatformRefusalError

OVERLAP_MS = 3_600_000
"""A record stands at the time of its start, and many a platform has it only when it has ended."""


class ListedRecord(NamedTuple):
    """A record of a platform with what a sweep asks of it."""

    id: str
    start_ms: int
    has_ended: bool
    record: Any


class Listing(NamedTuple):
    """Some records of those that began since a time, in the platform's own order."""

    records: list[ListedRecord]
    token: str | None
    """Where the next ones begin; None after the last."""


Lister = Callable[[int, str | None], Listing]
"""Lists what began since Unix milliseconds, from a token on."""


@dataclass
class Sweep:
    """How far one list of a platform was read.

    Args:
        since_ms: what began before was read.
        newest_ms: the newest start so far, none later than now.
        token: where to go on within a round that was cut short.
        seen: starts by id of what was read within the hour before the newest.
    """

    since_ms: int = 0
    newest_ms: int = 0
    token: str | None = None
    seen: dict[str, int] = field(default_factory=dict)

    def dump(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    def iter_new(self, fetch: Lister, glance: Lister | None = None) -> Iterator[list[Any]]:
        """Yield new records, some or none at a time; when they are taken, this says where to go on.

        A round goes back an hour from the newest start. What runs longer than that and ends late is missed.
        A round that was cut short is ended first.

        Args:
            fetch: lists whole records.
            glance: lists the same without their contents, which suffices for what was read before.
        """
        if self.token is not None:
            try:
                yield from self._iter_rest(fetch, glance)
            except PlatformRefusalError:  # a platform may forget its tokens
                self.token = None
        yield from self._iter_rest(fetch, glance)

    def _iter_rest(self, fetch: Lister, glance: Lister | None) -> Iterator[list[Any]]:
        """Yield what is new from here to the end of a round."""
        while True:
            begin, listing = self.token, self._list(fetch, glance)
            new = self._choose_new(listing)
            self._advance(listing)
            if new or begin != self.token:
                yield [entry.record for entry in new]
            if self.token is None:
                return

    def _list(self, fetch: Lister, glance: Lister | None) -> Listing:
        if glance is not None and self.since_ms:
            listing = glance(self.since_ms, self.token)
            if not self._choose_new(listing):
                return listing
        return fetch(self.since_ms, self.token)

    def _choose_new(self, listing: Listing) -> list[ListedRecord]:
        return [entry for entry in listing.records if entry.has_ended and entry.id not in self.seen]

    def _advance(self, listing: Listing) -> None:
        newest_ms = max([self.newest_ms, *(entry.start_ms for entry in listing.records)])
        self.newest_ms = min(newest_ms, time.time_ns() // 10**6)  # a host's clock may be ahead by hours
        begin = self.newest_ms - OVERLAP_MS
        self.seen |= {entry.id: entry.start_ms for entry in listing.records if entry.has_ended}
        self.seen = {identity: ms for identity, ms in self.seen.items() if ms >= begin}
        self.token = listing.token
        if self.token is None:
            self.since_ms = max(self.since_ms, begin)
