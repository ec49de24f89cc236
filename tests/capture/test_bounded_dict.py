"""A dictionary that forgets, by whatever way it is written to."""

from __future__ import annotations

from llm_trace.bounded_dict import BoundedDict


def test_the_key_that_was_there_longest_is_forgotten() -> None:
    latest: BoundedDict[str, int] = BoundedDict(2)
    latest["a"] = 1
    latest["b"] = 2
    latest["a"] = 3
    assert list(latest.items()) == [("a", 3), ("b", 2)]
    latest.update({"c": 4, "d": 5})
    assert list(latest.items()) == [("c", 4), ("d", 5)]
    assert latest.setdefault("e", 6) == 6
    assert list(latest.items()) == [("d", 5), ("e", 6)]
