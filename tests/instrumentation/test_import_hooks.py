"""Libraries that are half imported when `instrument` is called."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import llm_trace
from llm_trace.capture import failures
from llm_trace.instrumentation import api
from llm_trace.instrumentation.integration import Integration, TracedMethod
from tests.conftest import Recorded

NAME = "half_imported"
HALF = """
from tests.instrumentation import test_import_hooks
early = True
test_import_hooks.gate.pass_through()

class Client:
    def say(self, prompt):
        return prompt.upper()
"""
INTEGRATION = Integration(NAME, NAME, NAME, "", "", (TracedMethod(f"{NAME}:Client.say", "half.say"),))
gate: Any = SimpleNamespace()


@pytest.fixture(autouse=True)
def _library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / f"{NAME}.py").write_text(HALF)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(api, "load_integrations", lambda: {NAME: INTEGRATION})
    monkeypatch.setattr(api, "find_version", lambda _: "1.0")
    yield
    sys.modules.pop(NAME, None)


def load() -> Any:
    return importlib.import_module(NAME)


def test_a_library_that_another_thread_imports_is_instrumented_when_that_has_ended(
    store: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def stop() -> None:
        reached.set()
        assert go_on.wait(60)

    monkeypatch.setattr(gate, "pass_through", stop, raising=False)
    importing = threading.Thread(target=load)
    undos: list[Any] = []
    instrumenting = threading.Thread(target=lambda: undos.append(llm_trace.instrument(NAME)))
    importing.start()
    assert reached.wait(60)
    instrumenting.start()
    instrumenting.join(0.2)  # it either waits, or has looked at half a module by now
    go_on.set()
    importing.join()
    instrumenting.join()
    assert load().Client().say("hi") == "HI"
    undos[0]()
    assert (store.one().output, failures.counts) == ("HI", {})


def test_a_library_that_calls_instrument_while_it_is_imported_is_instrumented_behind_it(
    store: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    undos: list[Any] = []
    monkeypatch.setattr(gate, "pass_through", lambda: undos.append(llm_trace.instrument(NAME)), raising=False)
    client = load().Client()
    for thread in threading.enumerate():
        if thread.daemon and thread.name.endswith("(wait for an import)"):
            thread.join()
    assert client.say("hi") == "HI"
    undos[0]()
    assert (store.one().output, failures.counts) == ("HI", {})


def test_a_library_whose_import_fails_is_instrumented_when_it_is_imported_again(
    store: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def fail() -> None:
        reached.set()
        assert go_on.wait(60)
        raise ImportError("not yet")

    def load_in_vain() -> None:
        with pytest.raises(ImportError, match="not yet"):
            load()

    monkeypatch.setattr(gate, "pass_through", fail, raising=False)
    importing = threading.Thread(target=load_in_vain)
    undos: list[Any] = []
    instrumenting = threading.Thread(target=lambda: undos.append(llm_trace.instrument(NAME)))
    importing.start()
    assert reached.wait(60)
    instrumenting.start()
    instrumenting.join(0.2)
    go_on.set()
    importing.join()
    instrumenting.join()
    monkeypatch.setattr(gate, "pass_through", lambda: None)
    assert load().Client().say("hi") == "HI"
    undos[0]()
    assert (store.one().output, failures.counts) == ("HI", {})


@pytest.mark.parametrize("before", [False, True], ids=["instrumented first", "imported first"])
def test_a_library_that_is_imported_anew_is_instrumented_until_it_is_undone(
    store: Recorded, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    monkeypatch.setattr(gate, "pass_through", lambda: None, raising=False)

    def import_anew() -> Any:
        sys.modules.pop(NAME, None)
        return load().Client()

    clients = [load().Client()] if before else []
    with llm_trace.instrument(NAME):
        clients += [load().Client(), import_anew(), import_anew()]
        for client in clients:
            assert client.say("hi") == "HI"
    for client in (*clients, import_anew()):
        assert client.say("ho") == "HO"
        assert not hasattr(type(client).say, "__llm_trace__")
    assert [call.output for call in store.calls()] == ["HI"] * len(clients)
    assert failures.counts == {}
