"""What a value becomes: data where it is JSON-like, a bounded honest form where not, never an exception."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import hashlib
import json
import pathlib
import uuid
from typing import Any, NamedTuple

import numpy as np
import pydantic
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_trace.capture.values import ValueEncoder
from llm_trace.capture.walk import Limits

ENCODER = ValueEncoder()


def encoded(value: Any, encoder: ValueEncoder = ENCODER) -> Any:
    return json.loads(encoder.encode(value))


class Colour(enum.Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Item:
    name: str
    tags: set[str]


class Model(pydantic.BaseModel):
    name: str
    items: list[int]


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")


HERE = __name__


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ({"a": [1, 2.5, "x", True, None, {"b": ()}]}, {"a": [1, 2.5, "x", True, None, {"b": []}]}),
        (
            Item("a", {"y", "x"}),
            {"__type__": f"{HERE}.Item", "name": "a", "tags": {"__type__": "set", "items": ["x", "y"]}},
        ),
        (Model(name="m", items=[1]), {"__type__": f"{HERE}.Model", "name": "m", "items": [1]}),
        (Point(1, 2), {"__type__": f"{HERE}.Point", "x": 1, "y": 2}),
        (Colour.RED, "red"),
        (b"ab", {"__type__": "bytes", "length": 2, "base64": "YWI="}),
        (pathlib.PurePosixPath("/a/b"), {"__type__": "pathlib.PurePosixPath", "path": "/a/b"}),
        (ValueError("no"), {"__type__": "ValueError", "message": "no"}),
        (decimal.Decimal("1.50"), {"__type__": "decimal.Decimal", "repr": "Decimal('1.50')"}),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), "2026-01-02T00:00:00+00:00"),
        (np.float32(0.5), 0.5),
        (np.arange(3), {"__type__": "numpy.ndarray", "shape": [3], "dtype": "int64", "values": [0, 1, 2]}),
        (
            np.zeros((100, 2)),
            {
                "__type__": "numpy.ndarray",
                "shape": [100, 2],
                "dtype": "float64",
                "truncated": True,
                "blake2b": hashlib.blake2b(b"float64" + bytes(1600), digest_size=16).hexdigest(),
            },
        ),
        (
            torch.tensor([1.0]),
            {"__type__": "torch.Tensor", "shape": [1], "dtype": "torch.float32", "values": [1.0]},
        ),
        (float("nan"), {"__type__": "float", "value": "nan"}),
        ({"a": [float("inf")]}, {"a": [{"__type__": "float", "value": "inf"}]}),
        (2**70, {"__type__": "int", "value": str(2**70)}),
        ("a\ud800", {"__type__": "str", "encoding": "backslashreplace", "value": "a\\ud800"}),
        ({1: "a", None: "b", (1, 2): "c"}, {"1": "a", "None": "b", "(1, 2)": "c"}),
        ({1: "a", "1": "b"}, {"1": "a", "1 (str)": "b"}),
        (len, {"__type__": "builtin_function_or_method", "name": "builtins:len"}),
        (Broken(), {"__type__": f"{HERE}.Broken"}),
        ([Broken(), 1], [{"__type__": f"{HERE}.Broken"}, 1]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_forms(value: Any, expected: Any) -> None:
    assert encoded(value) == expected


def test_cycles_depth_and_size_are_bounded() -> None:
    cycle: list[Any] = [1]
    cycle.append(cycle)
    assert encoded(cycle) == [1, {"__type__": "list", "cycle": True}]
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    assert len(ENCODER.encode(deep)) < 1000
    huge = encoded({"text": "é" * 900_000, "rest": 1})
    assert huge["text"]["truncated"] == 900_000
    assert len(huge["text"]["value"].encode()) <= 1_000_000
    assert huge["rest"] == 1
    assert len(ENCODER.encode([["x" * 900_000] for _ in range(20)])) < 8_000_000
    many = encoded(list(range(150_000)))
    assert many[-1] == {"__type__": "list", "truncated": 50_000}
    assert encoded(b"x" * 10_000)["truncated"] is True


def test_limits_can_be_set() -> None:
    small = ValueEncoder(limits=Limits(string=10, event=100))
    whole = hashlib.blake2b(b"x" * 20, digest_size=16).hexdigest()
    assert encoded("x" * 20, small) == {
        "__type__": "str",
        "truncated": 20,
        "value": "x" * 10,
        "blake2b": whole,
    }


def test_generators_and_files_are_not_consumed() -> None:
    generator = (i for i in range(3))
    assert encoded(generator)["__type__"] == "generator"
    assert list(generator) == [0, 1, 2]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(JSON)
def test_json_survives_whole(value: Any) -> None:
    assert encoded(value) == value


@settings(max_examples=200)
@given(
    st.recursive(
        st.none()
        | st.floats()
        | st.text()
        | st.binary()
        | st.complex_numbers()
        | st.dates()
        | st.decimals()
        | st.fractions()
        | st.integers()
        | st.uuids()
        | st.timedeltas(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.integers() | st.text() | st.binary(), inner)
            | st.frozensets(st.integers() | st.text())
            | st.tuples(inner, inner)
        ),
        max_leaves=20,
    )
)
def test_anything_encodes_to_json_and_redaction_sees_every_string(value: Any) -> None:
    json.loads(ENCODER.encode(value))
    json.loads(ValueEncoder(redact=lambda text: "*").encode(value))
