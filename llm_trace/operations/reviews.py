"""Reviews: what a person decided about a call, what of it that person saw, and how long it took."""

from __future__ import annotations

import hashlib
import math
import time
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import ValidationError

from llm_trace.comparison.feedback import Given, ScoreWriter
from llm_trace.errors import ConfigurationError
from llm_trace.operations.log import Operation, OperationLog, read_operations
from llm_trace.operations.review_chain import ChainHead, ChainLine, ReviewChain, seal_review
from llm_trace.record import Record
from llm_trace.rendering.leaves import encode_text
from llm_trace.stores.duckdb import open_store

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from llm_trace.record import Attribution
    from llm_trace.stores.duckdb import Store

RATING = "correct"
"""The score that a review gives, unless another is asked for: gates are fitted on it."""
ExplainMode = Literal["always", "never", "random"]
"""Who sees explanations: everybody, nobody, or whom the draw of reviewer and call says."""
ShownPart = Literal["answer", "heat map", "self-report"]
_REVIEWER, _COMMENT, _VALUE = 100, 10_000, 1_000
_DAY_S = 24 * 3600
_KEY = b"llm_trace review"


class Review(Record):
    """One decision of a person about a call."""

    span_id: str
    """The call."""
    reviewer: str
    rating: str
    """The score that was given, such as `correct`."""
    value: float | bool | str
    comment: str | None = None
    mode: ExplainMode
    explained: bool
    """Whether explanations were to be shown; whether there were any says `available`."""
    available: tuple[ShownPart, ...]
    """What the store could show besides the answer."""
    seconds: float | None = None
    """How long the call was looked at; `None` where that is not known."""
    time_ns: int
    """When it was decided."""

    @property
    def saw(self) -> tuple[ShownPart, ...]:
        """What the person saw."""
        return ("answer", *(self.available if self.explained else ()))


def draw_explained(mode: ExplainMode, reviewer: str, span_id: str) -> bool:
    """Return whether a reviewer is to see a call's explanations; by chance it is a half of all pairs, and the
    same each time a pair is asked for.
    """
    if mode != "random":
        return mode == "always"
    pair = f"{span_id}{reviewer}".encode("utf-8", "surrogatepass")
    return bool(hashlib.blake2b(pair, key=_KEY, digest_size=1).digest()[0] & 1)


def list_available(attributions: Iterable[Attribution]) -> tuple[ShownPart, ...]:
    """Return which explanations a call has."""
    reported = {attribution.method == "self_report" for attribution in attributions}
    heat: tuple[ShownPart, ...] = ("heat map",) if False in reported else ()
    return (*heat, "self-report") if True in reported else heat


def make_review(
    store: Store,
    span_id: str,
    reviewer: str,
    value: float | bool | str,
    *,
    rating: str = RATING,
    mode: ExplainMode = "always",
    comment: str | None = None,
    seconds: float | None = None,
) -> Review:
    """Return a review of a call as it now stands in the store; `ReviewWriter.give` keeps it.

    Args:
        seconds: how long the person looked at the call, if that is known.

    Raises:
        NotFoundError: the store has no such call.
        ConfigurationError: nobody is named, or something is longer or larger than a review can be.
    """
    with store.hold():
        call = store.call(span_id)
        available = list_available(store.attributions(call.span_id))
    return Review(
        span_id=call.span_id,
        reviewer=check_reviewer(reviewer),
        rating=_check_text("the score's name", rating, _VALUE),
        value=_check_text("the decision", value, _VALUE) if isinstance(value, str) else _check_number(value),
        comment=_check_text("the comment", comment, _COMMENT) if comment and comment.strip() else None,
        mode=mode,
        explained=draw_explained(mode, reviewer.strip(), call.span_id),
        available=available,
        seconds=_check_seconds(seconds),
        time_ns=time.time_ns(),
    )


def check_reviewer(name: str) -> str:
    """Return a reviewer's name without blanks around it.

    Raises:
        ConfigurationError: it is empty, too long, or has signs that no terminal shows.
    """
    name = _check_text("the reviewer's name", name, _REVIEWER)
    if not name.isprintable():
        raise ConfigurationError(f"the reviewer's name {name!r} has signs that cannot be shown")
    return name


def _check_text(what: str, text: str, most: int) -> str:
    text = encode_text(text.strip())
    if not text or len(text) > most:
        raise ConfigurationError(f"{what} has {len(text):,} characters: give 1 to {most:,}")
    return text


def _check_number(value: float | bool) -> float | bool:
    if not math.isfinite(value):
        raise ConfigurationError(f"the decision {value!r} is no number: give a number, yes or no, or a label")
    return value if isinstance(value, bool) else float(value)


def _check_seconds(seconds: float | None) -> float | None:
    if seconds is None:
        return None
    if not 0 <= seconds <= _DAY_S:
        raise ConfigurationError(f"{seconds!r} are no seconds that a review can take: 0 to {_DAY_S:,}")
    return round(float(seconds), 3)


class ReviewWriter:
    """Keeps reviews: each is an operation, a line of the log, and a person's score; a context manager."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._chain = ReviewChain(store)
        self._operations = OperationLog(store)
        self._scores = ScoreWriter(store)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._operations.__exit__()
        self._scores.__exit__()

    def give(self, review: Review) -> ChainHead:
        """Keep a review; return where the log now ends.

        Raises:
            StoreError: it could not be kept, and why.
            StoreLockedError: others have held the log for a minute.
        """
        with self._chain.hold():
            finish_writing(self._chain, self._store)
            head = self._chain.read_head()
            self._chain.begin()
            body = seal_review(head, review.model_dump(mode="json", exclude_none=True))
            operation = self._operations.append("review", review.rating, body, review.span_id)
            line = build_line(operation)
            self._chain.append(line)
            _give_score(self._scores, operation)
            self._chain.finish()
        return ChainHead(head.log, line.entry, line.hash)


def build_line(operation: Operation) -> ChainLine:
    """Return the log's line of a review's record."""
    body = operation.body
    return ChainLine(body["entry"], operation.id, operation.time_ns, body["digest"], body["before"])


def _give_score(scores: ScoreWriter, operation: Operation) -> None:
    """Write the score of a review, under the id of its record: written twice it counts once."""
    review = _parse_review(operation)
    if review is None:
        return
    scores.give(
        Given(review.span_id, review.rating, review.value, review.comment, operation.id, operation.time_ns)
    )


def finish_writing(chain: ReviewChain, store: Path) -> None:
    """Add the lines and scores of records that a writer which died has left without; the caller holds the
    chain.
    """
    if not chain.is_unfinished:
        return
    chain.drop_torn_end()
    head = chain.read_head()
    with open_store(store) as opened:
        records = [r for r in read_operations(opened, kind="review") if r.body.get("log") == head.log]
    with ScoreWriter(store) as scores:
        for record in sorted(records, key=lambda r: str(r.body.get("entry")).zfill(20)):
            if (record.body.get("entry"), record.body.get("before")) == (head.count + 1, head.hash):
                line = build_line(record)
                chain.append(line)
                head = ChainHead(head.log, line.entry, line.hash)
            if record.body.get("entry") == head.count:  # the writer may have died before the score
                _give_score(scores, record)
    chain.finish()


def read_reviews(store: Store, rating: str | None = None) -> list[Review]:
    """Return the reviews, oldest first; those of calls that were purged are gone."""
    reviews = map(_parse_review, read_operations(store, kind="review"))
    return [review for review in reviews if review and rating in (None, review.rating)]


def _parse_review(operation: Operation) -> Review | None:
    """Return a review; `None` where it was purged, or changed beyond reading, which verification says."""
    review: Any = operation.body.get("review")
    try:
        # The call may have become part of another since.
        return Review.model_validate({**review, "span_id": operation.span_id})
    except (ValidationError, TypeError):
        return None


def choose_latest(reviews: Sequence[Review]) -> list[Review]:
    """Return of each reviewer and call the last decision."""
    return list({(review.reviewer, review.span_id, review.rating): review for review in reviews}.values())
