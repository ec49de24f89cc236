"""Inputs are the same where their contents are, whatever is shown: in a replay and in a comparison."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import llm_trace
from llm_trace.errors import DivergenceError, ReplayError
from tests.conftest import Recorded


class Doc:
    def __init__(self, text: str) -> None:
        self.text = text


def column(at: int) -> list[int]:
    return [*range(500), at, *range(500)]


PAIRS: dict[str, Any] = {
    "array": lambda at: np.array(column(at)),
    "array of times": lambda at: np.array(column(at), dtype="datetime64[s]"),
    "strided array": lambda at: np.array(column(at)).reshape(7, -1).T,
    "tensor": lambda at: torch.tensor(column(at), dtype=torch.bfloat16),
    "frame": lambda at: pd.DataFrame({"a": column(at)}),
    "frame of texts": lambda at: pd.DataFrame({"a": list(map(str, column(at)))}),
    "small frame": lambda at: pd.DataFrame({"a": [at / 1e9]}),
    "series": lambda at: pd.Series(column(at)),
    "names of columns": lambda at: pd.DataFrame({f"a{at}": column(0)}),
    "table": lambda at: pa.table({"a": column(at)}),
    "object": lambda at: Doc("x" * 20_000 + str(at)),
    "text": lambda at: "x" * 1_100_000 + str(at),
    "bytes": lambda at: bytes(10_000) + str(at).encode(),
    "nested": lambda at: {"documents": [pd.DataFrame({"a": column(at)})]},
}


@llm_trace.trace(kind="llm")
def describe(data: Any) -> str:
    return "described"


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("redact", [None, True], ids=["plain", "redacted"])
def test_an_input_that_differs_anywhere_is_another_input(recorded: Recorded, kind: str, redact: Any) -> None:
    llm_trace.configure(recorded.path, redact=redact)
    make = PAIRS[kind]
    with llm_trace.start_run("nightly"):
        describe(make(1))
    with llm_trace.replaying("nightly"):
        assert describe(make(1)) == "described"
    with pytest.raises(DivergenceError), llm_trace.replaying("nightly"):
        describe(make(2))
    if redact and kind != "text":  # of a text it is the hash of what is masked already
        assert "blake2b" not in str(recorded.sql("SELECT input FROM calls").fetchall())


def test_polars_frames_are_known_by_their_content(store: Recorded) -> None:
    polars = pytest.importorskip("polars")
    with llm_trace.start_run("nightly"):
        describe(polars.DataFrame({"a": column(1)}))
    with llm_trace.replaying("nightly"):
        assert describe(polars.DataFrame({"a": column(1)})) == "described"
    with pytest.raises(DivergenceError), llm_trace.replaying("nightly"):
        describe(polars.DataFrame({"a": column(2)}))


@pytest.mark.parametrize(
    "value",
    [np.array(["a", {}] * 50, dtype=object), pd.DataFrame({"a": [[1], [2]] * 50})],
    ids=["array of objects", "frame of lists"],
)
def test_an_input_whose_content_is_not_read_is_named(store: Recorded, value: Any) -> None:
    with llm_trace.start_run("nightly"):
        describe(value)
    with (
        pytest.raises(ReplayError, match="its input was cut when it was recorded"),
        llm_trace.replaying("nightly"),
    ):
        describe(value)


def test_what_is_shown_of_a_frame_says_that_it_is_cut(store: Recorded) -> None:
    describe(pd.DataFrame({"a": [1]}))
    shown = store.one().input["data"]
    assert {name: shown[name] for name in ("__type__", "truncated")} == {
        "__type__": "pandas.DataFrame"
        if shown["__type__"] == "pandas.DataFrame"
        else "pandas.core.frame.DataFrame",
        "truncated": True,
    }
    assert len(shown["blake2b"]) == 32


@pytest.mark.parametrize("redact", [None, True], ids=["plain", "redacted"])
def test_a_comparison_pairs_inputs_by_their_content(recorded: Recorded, redact: Any) -> None:
    llm_trace.configure(recorded.path, redact=redact)

    @llm_trace.trace(kind="llm")
    def ask(frame: Any, to: str) -> int:
        return 1

    for run in ("a", "b"):
        with llm_trace.start_run(run):
            for at in range(8):
                ask(pd.DataFrame({"a": column(at)}), f"ann{at}@example.org")
    assert llm_trace.compare("a", "b", store=recorded.path).metric("errors").n == 8


def test_classes_of_one_name_in_two_modules_are_two(store: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for version in ("first_version", "second_version"):
        module = types.ModuleType(version)
        monkeypatch.setitem(sys.modules, version, module)
        exec("import dataclasses\n@dataclasses.dataclass\nclass Request:\n    x: int\n", module.__dict__)
        made.append(module.Request)
    with llm_trace.start_run("nightly"):
        describe(made[0](1))
    with pytest.raises(DivergenceError), llm_trace.replaying("nightly"):
        describe(made[1](1))
    with llm_trace.replaying("nightly"):
        assert describe(made[0](1)) == "described"


QA = llm_trace.Prompt("qa", "Answer {question} in {count} words.")


def test_a_rendered_prompt_that_is_an_argument_comes_back_as_one(store: Recorded) -> None:
    seen: list[Any] = []

    @llm_trace.trace
    def top(prompt: Any) -> str:
        seen.append((type(prompt), str(prompt), prompt.prompt, prompt.variables, prompt.spans))
        return describe(prompt)

    with llm_trace.start_run("nightly"):
        top(QA.format(question="why?", count=3))
    run = llm_trace.replay("nightly", functions=top)
    assert run.config["replay"] == {"mode": "recorded", "served": 1, "live": 0, "roots": 1, "equal": 1}
    assert seen[0] == seen[1]
    (again,) = (call for call in store.calls(run=run, name="top"))
    assert again.input == {"prompt": "Answer why? in 3 words."}
    new = llm_trace.Prompt("qa", "Say {question} ({count})")
    llm_trace.replay("nightly", functions=top, mode="live", overrides={"prompt": new})
    assert seen[2][1:4] == ("Say why? (3)", new, {"question": "why?", "count": 3})
