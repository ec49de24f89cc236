"""What a served call gave comes back equal and of the same types in a replay, or is named."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime as dt
import decimal
import enum
import math
import typing
import uuid
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_serializer, field_validator

import llm_trace
from llm_trace.errors import ReplayError
from llm_trace.replays.roots import call_of
from llm_trace.replays.session import ReplaySession
from tests.conftest import Recorded


@dataclasses.dataclass
class Plain:
    value: Any
    other: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    value: Any


class Base(BaseModel):
    value: Any = None


class Sub(Base):
    more: Any = None


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    value: Any = Field(alias="theValue")
    _note: str = PrivateAttr(default="begun")


class Holder(BaseModel):
    inner: Base | None = None
    many: list[Base] = []
    when: dt.datetime | None = None


class Doubling(BaseModel):
    value: int

    @field_validator("value")
    @classmethod
    def double(cls, value: int) -> int:
        return value * 2


class Rounding(BaseModel):
    value: float

    @field_serializer("value")
    def rounded(self, value: float) -> float:
        return round(value)


class Hidden(BaseModel):
    value: int
    secret: str = Field(default="", exclude=True)


class Pair(typing.NamedTuple):
    left: Any
    right: Any


class Colour(enum.Enum):
    RED = 1
    BLUE = "blue"


class Bits(enum.IntFlag):
    A = 1
    B = 2


def holding(inner: Base, many: list[Base]) -> Holder:
    return Holder.model_construct(inner=inner, many=many)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.decimals()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(dt.UTC) | st.just(dt.timezone(dt.timedelta(hours=2))))
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.complex_numbers()
    | st.sampled_from([*Colour, Bits.A | Bits.B, math.inf, -math.inf, math.nan])
    | st.builds(Path, st.sampled_from(["/a/b", "c"]))
)
HASHABLE = st.integers() | st.text(max_size=3) | st.floats() | st.dates()


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    bases = st.builds(Base, value=inner) | st.builds(Sub, value=inner, more=inner)
    return (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3) | st.just("__type__"), inner, max_size=3)
        | st.dictionaries(st.integers() | st.none(), inner, max_size=2)
        | st.sets(HASHABLE, max_size=3)
        | st.frozensets(HASHABLE, max_size=3)
        | st.builds(collections.OrderedDict, st.dictionaries(st.text(max_size=3), inner, max_size=3))
        | st.builds(collections.Counter, st.lists(st.text(max_size=2) | st.integers(), max_size=3))
        | st.builds(collections.deque, st.lists(inner, max_size=2))
        | st.builds(Plain, inner, inner)
        | st.builds(Slotted, inner)
        | st.builds(Pair, inner, inner)
        | bases
        | st.builds(Open, theValue=inner, extra=inner)
        | st.builds(holding, bases, st.lists(bases, max_size=2))
    )


VALUES = st.recursive(SCALARS, nested, max_leaves=6)


def same(a: Any, b: Any) -> bool:
    """Compare values and types all the way down, as `==` does not: NaN is itself, 1 is not True."""
    if type(a) is not type(b):
        return False
    if isinstance(a, BaseModel):
        names = ("__dict__", "__pydantic_extra__", "__pydantic_private__", "__pydantic_fields_set__")
        return all(same(getattr(a, name), getattr(b, name)) for name in names)
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, dict):
        return same(list(a.items()), list(b.items()))
    if isinstance(a, (list, tuple, collections.deque)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (set, frozenset)):
        return sorted(map(repr, a)) == sorted(map(repr, b))
    return repr(a) == repr(b)


GIVEN: list[Any] = []


@llm_trace.trace(kind="tool")
def give(number: int) -> Any:
    return GIVEN[number]


@llm_trace.trace(kind="tool")
def stream(number: int) -> Iterator[Any]:
    yield GIVEN[number]
    return GIVEN[number]  # type: ignore[no-any-return]


@llm_trace.trace
def take(value: Any) -> None:
    GIVEN.append(value)


def drain(number: int) -> list[Any]:
    """Return what a stream yields and what it returns."""
    chunks = stream(number)
    first = next(chunks)
    with pytest.raises(StopIteration) as stop:
        next(chunks)
    return [first, stop.value.value]


@pytest.fixture(params=[None, True], ids=["plain", "redacted"])
def place(recorded: Recorded, request: pytest.FixtureRequest) -> Recorded:
    """A place that is recorded to, with and without redaction."""
    llm_trace.configure(recorded.path, redact=request.param)
    return recorded


@contextlib.contextmanager
def session(mode: Any, path: Path, redact: Any) -> Iterator[ReplaySession]:
    """Record to a cassette, or replay it."""
    entered = ReplaySession.begin(mode, path, redact=redact)
    try:
        yield entered
    finally:
        entered.leave()


PROPERTY = settings(max_examples=150, derandomize=True, database=None, phases=[Phase.generate])


@pytest.mark.parametrize("redact", [None, True], ids=["plain", "redacted"])
def test_values_of_any_types_come_back_equal_or_are_named(tmp_path: Path, redact: Any) -> None:
    path, counts = tmp_path / "cassette.json", collections.Counter[str]()

    @PROPERTY
    @given(value=VALUES)
    def check(value: Any) -> None:
        GIVEN[:] = [value]
        with session("record", path, redact) as recording:
            give(0)
            drain(0)
            masked = [call for call in recording.collector.calls() if call.rebuild.get("masked")]
            recording.keep()
        for ask in (lambda n: [give(n)], drain):
            try:
                with session("replay", path, redact):
                    got = ask(0)
            except ReplayError as exc:
                assert "cannot be replayed: " in str(exc)
                counts["named"] += 1
            else:
                assert masked or all(same(value, one) for one in got), (value, got)
                counts["back"] += 1

    check()
    assert min(counts["back"], counts["named"]) > 50


def test_arguments_of_any_types_come_back_equal_or_are_named(tmp_path: Path) -> None:
    @PROPERTY
    @given(value=VALUES)
    def check(value: Any) -> None:
        with session("record", tmp_path / "cassette.json", None) as recording:
            take(value)
        (root,) = recording.collector.calls()
        try:
            (got,), _ = call_of(root, take, {})
        except ReplayError as exc:
            assert "the record does not hold 'value' (" in str(exc)
        else:
            assert same(value, got), (value, got)

    check()


@pytest.mark.parametrize(
    "value",
    [
        Plain(math.nan, [math.inf, (-math.inf,)]),
        Base(value={"loss": math.nan}),
        Pair(math.nan, 2**70),
        collections.OrderedDict(b=math.nan, a=decimal.Decimal("1.50")),
        [{math.inf, 1.0}, dt.timedelta(days=1, seconds=2), complex(math.nan, 1)],
        Holder(
            inner=Sub(value=1, more=(1, 2)),
            many=[Base(), Sub(value=Colour.RED)],
            when=dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
        ),
        Open.model_validate({"theValue": uuid.UUID("86375248-a185-4595-912c-ed041362f5e7"), "beside": 3}),
        Doubling(value=2),
        Rounding(value=1.25),
    ],
    ids=[
        "dataclass",
        "pydantic",
        "namedtuple",
        "ordered dict",
        "list",
        "subclass in a field",
        "alias",
        "validator",
        "serializer",
    ],
)
def test_values_that_json_cannot_say_come_back_equal(place: Recorded, value: Any) -> None:
    GIVEN[:] = [value]
    with llm_trace.start_run("nightly"):
        give(0)
    with llm_trace.replaying("nightly"):
        got = give(0)
    assert same(value, got)
    assert repr(value) == repr(got)


def noted(value: Any) -> Any:
    """Return an object with state beside its fields."""
    value.__dict__["beside"] = 1
    return value


@pytest.mark.parametrize(
    "value",
    [
        Hidden(value=1, secret="x"),
        noted(Plain(1)),
        {1: "a"},
        collections.Counter({1: 2}),
        dt.datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
        {"__type__": "float", "value": "nan", "more": {1, (2,)}},
    ],
    ids=[
        "excluded field",
        "state beside",
        "number keys",
        "counter of numbers",
        "zone by name",
        "tuple in a set",
    ],
)
def test_values_that_the_record_does_not_hold_whole_are_named(store: Recorded, value: Any) -> None:
    GIVEN[:] = [value]
    with llm_trace.start_run("nightly"):
        give(0)
    with pytest.raises(ReplayError, match="give .* cannot be replayed: "), llm_trace.replaying("nightly"):
        give(0)


def test_a_dict_of_the_users_own_that_looks_like_a_number_stays_a_dict(store: Recorded) -> None:
    GIVEN[:] = [{"__type__": "float", "value": "nan"}]
    with llm_trace.start_run("nightly"):
        give(0)
    with llm_trace.replaying("nightly"):
        assert give(0) == GIVEN[0]
