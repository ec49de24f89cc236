"""Recorded exceptions are raised again by class and state, or refused by name: `except` catches the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pydantic
import pytest

import llm_trace
from llm_trace.errors import ReplayError
from tests.conftest import Recorded
from tests.helpers.cli_toys import invoke


class HttpError(Exception):
    def __init__(self, status: int, *, after: float = 0.0) -> None:
        super().__init__(f"HTTP {status}")
        self.status, self.after = status, after


class SlottedError(Exception):
    __slots__ = ("code",)
    code: int


class ConnectionLostError(OSError):
    def __init__(self, host: str) -> None:
        super().__init__(7, "lost", host)
        self.host = host


class Answer(pydantic.BaseModel):
    number: int
    word: str = pydantic.Field(max_length=3)

    @pydantic.field_validator("word")
    @classmethod
    def no_x(cls, word: str) -> str:
        if "x" in word:
            raise ValueError("has an x")
        return word


def fail_inside() -> None:
    try:
        raise KeyError("k")
    except KeyError as exc:
        raise HttpError(500) from exc


def fail_with(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def rate_limited() -> None:
    httpx, openai = pytest.importorskip("httpx"), pytest.importorskip("openai")
    request = httpx.Request("POST", "http://example.org", headers={"authorization": "Bearer secret"})
    response = httpx.Response(429, request=request, headers={"retry-after": "2"}, json={"wait": True})
    raise openai.RateLimitError("slow down", response=response, body={"code": "rate_limit"})


GROUP = ExceptionGroup("several", [ValueError("a"), ExceptionGroup("inner", [HttpError(503, after=1.5)])])
CASES: dict[str, Callable[[], Any]] = {
    "own init": fail_with(HttpError(503, after=2.0)),
    "two arguments": fail_with(RuntimeError("quota", 7)),
    "cause": fail_inside,
    "group": fail_with(GROUP),
    "json": lambda: json.loads("{"),
    "validation": lambda: Answer.model_validate({"number": "x", "word": "long"}),
    "validator": lambda: Answer.model_validate({"number": 1, "word": "x"}),
    "file": lambda: open("/nonexistent/x"),  # noqa: SIM115
    "own file": fail_with(ConnectionLostError("h")),
    "unicode": lambda: b"\xff".decode(),
    "key": lambda: dict[str, int]()["k"],
    "name": lambda: globals_without.nothing,  # type: ignore[name-defined]  # noqa: F821
    "time-out": fail_with(TimeoutError()),
    "exit": fail_with(SystemExit(2)),
    "inside an argument": fail_with(RuntimeError(HttpError(1))),
}


@llm_trace.trace(kind="tool")
def act(case: str) -> Any:
    return CASES[case]()


def caught(case: str) -> Any:
    with pytest.raises(BaseException) as info:
        act(case)
    return info.value


def facts(error: BaseException | None) -> Any:
    """Return an exception's class and state, all the way down."""
    if error is None:
        return None
    state = {name: facts(v) if isinstance(v, BaseException) else v for name, v in error.__dict__.items()}
    args = [facts(arg) if isinstance(arg, BaseException) else arg for arg in error.args]
    if isinstance(error, BaseExceptionGroup):
        args[1:] = map(facts, error.exceptions)
    extra = {name: getattr(error, name, None) for name in ("errno", "filename", "reason", "name", "code")}
    return type(error), str(error), args, state, extra, facts(error.__cause__)


@pytest.mark.parametrize("case", CASES)
def test_an_exception_comes_back_by_its_class_in_its_state(store: Recorded, case: str) -> None:
    with llm_trace.start_run("nightly"):
        then = caught(case)
    with llm_trace.replaying("nightly"):
        now = caught(case)
    assert now is not then
    assert facts(now) == facts(then)


def test_the_response_in_a_clients_error_comes_back_without_the_key(store: Recorded) -> None:
    CASES["rate"] = rate_limited
    with llm_trace.start_run("nightly"):
        then = caught("rate")
    with llm_trace.replaying("nightly"):
        now = caught("rate")
        assert type(now) is type(then)
        assert (now.response.headers["retry-after"], now.response.json(), now.code) == (
            "2",
            {"wait": True},
            "rate_limit",
        )
        with pytest.raises(ReplayError, match="RateLimitError's request cannot be replayed"):
            now.request.headers
    assert "Bearer secret" not in "".join(
        str(row) for row in store.sql("SELECT rebuild FROM calls").fetchall()
    )


def test_an_exception_that_the_record_does_not_hold_is_refused_by_name(store: Recorded) -> None:
    error = SlottedError("s")
    error.code = 3
    CASES["slotted"] = fail_with(error)
    with llm_trace.start_run("nightly"):
        caught("slotted")
    with (
        pytest.raises(
            ReplayError,
            match=r"act \(\w{16}\) cannot be replayed: a .*SlottedError keeps its state in __slots__",
        ),
        llm_trace.replaying("nightly"),
    ):
        act("slotted")


def test_masked_state_is_not_raised_as_if_it_were_whole(recorded: Recorded) -> None:
    llm_trace.configure(recorded.path, redact=True)
    error = HttpError(401)
    error.__dict__["mail"] = "ann@example.org"
    CASES["masked"] = fail_with(error)
    with llm_trace.start_run("nightly"):
        caught("masked")
        caught("own init")
    with llm_trace.replaying("nightly"):
        assert facts(caught("own init")) == facts(HttpError(503, after=2.0))
    with pytest.raises(ReplayError, match="its answer was masked"), llm_trace.replaying("nightly"):
        act("masked")
    files = [path for path in recorded.path.parent.rglob("*") if path.is_file()]
    assert b"ann@" not in b"".join(path.read_bytes() for path in files)


SCRIPT = """
import collections, dataclasses, sys, typing
import llm_trace, pydantic

class Doc(pydantic.BaseModel):
    text: str

@dataclasses.dataclass
class Hit:
    doc: Doc
    score: float

class Pair(typing.NamedTuple):
    hit: Hit

class TryAgain(Exception):
    def __init__(self, after):
        super().__init__(f"try again after {after}")
        self.after = after

TRIES = []

@llm_trace.trace(kind="retriever")
def find(query):
    TRIES.append(query)
    if len(TRIES) < 3:
        raise TryAgain(len(TRIES))
    return [Pair(Hit(Doc(text=query), 0.5))]

@llm_trace.trace(kind="reranker")
def rerank(query, pairs):
    return sorted(pairs, key=lambda pair: pair.hit.score)

@llm_trace.trace
def answer(pair):
    for _ in range(5):
        try:
            found = rerank(pair.hit.doc.text, find(pair.hit.doc.text))
            return [isinstance(f, Pair) and isinstance(f.hit, Hit) and f.hit.doc.text for f in found]
        except TryAgain as error:
            assert error.after in (1, 2)

if __name__ == "__main__":
    llm_trace.configure(sys.argv[1], redact=sys.argv[2] == "redacted" or None)
    with llm_trace.start_run("nightly"):
        print(answer(Pair(Hit(Doc(text="q"), 1.0))))
"""


@pytest.mark.parametrize("redact", ["plain", "redacted"])
def test_a_scripts_run_is_replayed_by_the_command_of_the_docs(
    recorded: Recorded, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, redact: str
) -> None:
    import subprocess
    import sys

    script = tmp_path / "nightly_app.py"
    script.write_text(SCRIPT)
    subprocess.run(
        [sys.executable, script, recorded.path, redact], check=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "nightly_app", raising=False)
    done = invoke(recorded.path, "replay", "nightly", "--function", "nightly_app:answer")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("4 calls from the record, 0 live; 1 of 1 ended as they did then")
    import nightly_app  # type: ignore[import-not-found]

    script.rename(tmp_path / "moved_app.py")
    assert nightly_app.TRIES == []
    del sys.modules["nightly_app"]
    done = invoke(recorded.path, "replay", "nightly", "--function", "moved_app:answer")
    assert (done.exit_code, done.stdout.split(";")[0]) == (0, "4 calls from the record, 0 live"), done.output
    sys.modules.pop("moved_app", None)
