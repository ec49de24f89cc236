"""Instrumentations of others: switched on, failing, and taken out without a trace."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import metadata
from typing import Any

import pytest

import llm_trace
from llm_trace.capture import failures
from llm_trace.instrumentation import api, inventory, riding
from llm_trace.instrumentation.rides import RIDES, Ride
from llm_trace.record import Usage
from tests.conftest import Recorded

RIDE = Ride(
    "lamps", "lamps", "lamps", "instrumentation-lamps", "instrumentation_lamps:Lamps",
    ("1.0", "2.0", "2026-11-28"), lacks="tokens", clients=("openai",),
)  # fmt: skip
VERSIONS = {"lamps": "3.0", "instrumentation-lamps": "1.1", "openai": "9.9"}


def decorate(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def decorated(*args: Any) -> Any:
        return f"decorated {fn(*args)}"

    return decorated


class Lamps:
    """Wraps `Lamp.say` and `Torch.say`; takes one wrapper too many away when it is switched off."""

    is_instrumented_by_opentelemetry = False
    fails: Exception | None = None
    refuses = False

    def instrument(self, tracer_provider: Any) -> None:
        lamps: Any = sys.modules["lamps"]
        lamps.tracer = tracer_provider.get_tracer("instrumentation_lamps")
        for cls in (lamps.Lamp, lamps.Torch):
            cls.say = _wrap(cls.say)
        if self.fails is not None:
            raise self.fails
        self.is_instrumented_by_opentelemetry = not self.refuses

    def uninstrument(self) -> None:
        lamps = sys.modules["lamps"]
        for cls in (lamps.Lamp, lamps.Torch):
            while hasattr(cls.say, "__wrapped__"):
                cls.say = cls.say.__wrapped__


def _wrap(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def traced(*args: Any) -> Any:
        return fn(*args)

    return traced


@pytest.fixture
def lamps(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """A library that is ridden by `Lamps`."""
    module = types.ModuleType("lamps")
    module.Lamp = type("Lamp", (), {"say": decorate(lambda self: "light"), "__module__": "lamps"})  # type: ignore[attr-defined]
    module.Torch = type("Torch", (module.Lamp,), {"__module__": "lamps"})  # type: ignore[attr-defined]
    instrumentation = types.ModuleType("instrumentation_lamps")
    instrumentation.Lamps = Lamps  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lamps", module)
    monkeypatch.setitem(sys.modules, "instrumentation_lamps", instrumentation)
    monkeypatch.setattr(api, "RIDES", (RIDE,))
    for room in (api, riding, inventory):
        monkeypatch.setattr(room, "find_version", VERSIONS.get)
    yield module
    failures.counts.clear()


def test_undoing_gives_back_what_an_instrumentation_takes_of_the_library_itself(
    lamps: types.ModuleType,
) -> None:
    before = lamps.Lamp.say
    with llm_trace.instrument("lamps") as undo:
        assert undo.libraries["lamps"] == "instrumentation-lamps 1.1"
        assert lamps.Lamp.say is not before
    assert vars(lamps.Lamp)["say"] is before
    assert "say" not in vars(lamps.Torch)
    assert lamps.Torch().say() == "decorated light"
    assert not failures.counts


def test_a_patch_of_somebody_else_over_an_instrumentation_stays(lamps: types.ModuleType) -> None:
    with llm_trace.instrument("lamps"):
        lamps.Torch.say = theirs = lambda self: "theirs"
    assert lamps.Torch.say is theirs
    assert lamps.Lamp().say() == "decorated light"


def test_an_instrumentation_that_fails_leaves_the_library_as_it_was_and_what_works_is_said(
    lamps: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lamps, "fails", ImportError("lamps.old"))
    before = lamps.Lamp.say
    with llm_trace.instrument("lamps") as undo:
        assert undo.libraries["lamps"] == (
            "not instrumented: instrumentation-lamps 1.1 fails with lamps 3.0: ImportError('lamps.old'); "
            "what works is instrumentation-lamps==1.0 with lamps==2.0"
        )
        assert (lamps.Lamp.say, "say" in vars(lamps.Torch)) == (before, False)
    assert list(failures.counts) == ["the instrumentation of lamps 3.0: ImportError"]


def test_an_instrumentation_that_refuses_a_version_says_which_works(
    lamps: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lamps, "refuses", True)
    with llm_trace.instrument("lamps") as undo:
        assert undo.libraries["lamps"] == (
            "not instrumented: instrumentation-lamps 1.1 does not support lamps 3.0; "
            "what works is instrumentation-lamps==1.0 with lamps==2.0"
        )


def test_the_clients_of_a_library_that_counts_no_tokens_are_instrumented_with_it(
    lamps: types.ModuleType,
) -> None:
    with llm_trace.instrument("lamps") as undo:
        assert list(undo.libraries) == ["lamps", "openai"]
        assert undo.libraries["openai"].startswith(("waiting", "llm_trace's integration of openai"))


def test_what_a_library_is_told_of_an_answer_is_on_the_span_that_lacks_it(
    store: Recorded, lamps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []
    lamps.Diary = type("Diary", (), {"note": lambda _, answer: kept.append(answer)})
    before = lamps.Diary.note
    monkeypatch.setattr(api, "RIDES", (replace(RIDE, clients=(), answers="lamps:Diary.note"),))
    usage = {"prompt_tokens": 13, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
    with llm_trace.instrument("lamps"):
        with lamps.tracer.start_as_current_span("ask", attributes={"openinference.span.kind": "LLM"}):
            lamps.Diary().note({"usage": usage, "response_model": "lamp-1"})
            lamps.Diary().note("no answer at all")
        with llm_trace.span("step"):
            lamps.Diary().note({"usage": usage})  # the span is not the instrumentation's
    assert (lamps.Diary.note, len(kept), failures.counts) == (before, 3, {})
    calls = {call.name: call for call in store.calls()}
    assert (calls["ask"].model, calls["step"].usage) == ("lamp-1", None)
    assert calls["ask"].usage == Usage(input_tokens=13, output_tokens=2, cache_read_tokens=4)


@pytest.mark.parametrize(
    ("needs", "sentence"),
    [
        (["lamps>=2; extra == 'instruments'"], "instrumented by instrumentation-lamps 1.1"),
        (
            ["wrapt", "Lamps<3,>=2; extra == 'instruments'"],
            "not instrumented: instrumentation-lamps 1.1 needs lamps<3,>=2",
        ),
        (None, "instrumented by instrumentation-lamps 1.1"),
    ],
    ids=["supported", "too-new", "silent"],
)
def test_doctor_says_with_which_versions_a_library_was_tried_and_whether_this_one_is_supported(
    lamps: types.ModuleType, monkeypatch: pytest.MonkeyPatch, needs: list[str] | None, sentence: str
) -> None:
    monkeypatch.setattr(inventory, "load_integrations", dict)
    monkeypatch.setattr(metadata, "requires", lambda _: needs)
    assert inventory.list_libraries() == {
        "lamps": f"3.0: {sentence} (tried: 1.0 with lamps 2.0 on 2026-11-28; missing: tokens; "
        "openai instrumented with it)"
    }


def test_the_table_has_no_ride_that_was_never_tried() -> None:
    assert [ride.library for ride in RIDES if not all(ride.tried)] == []
