"""Values that change while they are recorded, or whose own code would run in the encoder, end no process."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from llm_trace.capture.values import ValueEncoder
from llm_trace.capture.walk import Limits

_UNSAFE = {
    "a time zone that fails": """
        class Zone(datetime.tzinfo):
            def utcoffset(self, moment):
                raise RuntimeError("no zone")
        value = [datetime.datetime(2026, 1, 1, tzinfo=Zone())]
        expected = [{"__type__": "datetime", "unrepresentable": "RuntimeError"}]
    """,
    "a time zone that empties the list": """
        class Zone(datetime.tzinfo):
            def utcoffset(self, moment):
                del value[1:]
                return datetime.timedelta(0)
        value = [datetime.datetime(2026, 1, 1, tzinfo=Zone()), *[{"text": "x" * 50} for _ in range(50_000)]]
        expected = ["2026-01-01T00:00:00+00:00"]
    """,
    "an enum with a value of its own": """
        class Answer(enum.Enum):
            YES = "yes"
            @property
            def value(self):
                raise RuntimeError("not set up")
        value = [Answer.YES]
        expected = ["yes"]
    """,
    "an enum whose value is itself": """
        class Answer(enum.Enum):
            YES = "yes"
            @property
            def value(self):
                return self
        value = {"nested": (Answer.YES, {"deeper": Answer.YES})}
        expected = {"nested": ["yes", {"deeper": "yes"}]}
    """,
}


@pytest.mark.parametrize("case", list(_UNSAFE), ids=lambda case: case.replace(" ", "-"))
def test_telemetry_never_breaks_the_host_by_code_of_a_value(case: str, tmp_path: Path) -> None:
    program = "import datetime, enum, llm_trace\nllm_trace.configure('t.duckdb')\n" + textwrap.dedent(
        _UNSAFE[case]
    )
    program += textwrap.dedent("""
        @llm_trace.trace
        def give(): return value
        assert give() is value
        call, = llm_trace.open_store('t.duckdb').calls()
        assert call.output == expected, call.output
    """)
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_lists_that_hold_one_list_in_many_places_are_recorded_within_the_limits() -> None:
    value: list[object] = ["leaf"]
    for _ in range(40):
        value = [value, value]
    data = ValueEncoder(limits=Limits(string=1000, event=10_000)).encode(value)
    assert b'"truncated"' in data
    assert len(data) < 100_000
