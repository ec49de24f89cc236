"""A failure as a permanent test: a cassette of what happened, and mutants that the mended program passes."""

from __future__ import annotations

import asyncio
import inspect
import json
import pprint
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from llm_trace.capture.redaction import build_redactor
from llm_trace.capture.spec import SERVED
from llm_trace.capture.values import ValueEncoder
from llm_trace.errors import ConfigurationError
from llm_trace.evaluation.mutants import Mutant, make_mutants
from llm_trace.record import Attribution, Call
from llm_trace.replays import cassette
from llm_trace.replays.load import load
from llm_trace.replays.session import ReplaySession
from llm_trace.replays.tape import Taped
from llm_trace.stores.duckdb import Store

_TEXT = '''\
"""A failure kept as a test: call {span_id} answered {output}.

The cassettes beside this file answer its calls; when the program has changed, record them again:
pytest --llm-trace=record {file}
"""

{imports}
import pytest
from {module} import {function}

ARGUMENTS = {arguments}
RIGHT = {right}


@pytest.mark.llm_trace
def test_the_failure():
    assert {call}(**ARGUMENTS){close} == RIGHT
'''
_MUTANTS = '''\


MUTANTS = {mutants}
"""What is changed, and whether the answer must become another one; take out what is wrong."""


@pytest.mark.llm_trace
@pytest.mark.parametrize("change", MUTANTS)
def test_a_mutant(change):
    arguments, flips = MUTANTS[change]
    assert ({call}(**ARGUMENTS | arguments){close} != RIGHT) is flips
'''


def write_failure_test(
    path: Path, store: Store, call: Call, name: str, function: Callable[..., Any], *, right: Any = None,
    model: Any = None,
) -> list[str]:  # fmt: skip
    """Write a pytest file for a call with its cassettes, and return what to know about it.

    The cassette of the failure is what the store has of it, so that the test fails as the call did until the
    program is mended. The mutants' cassettes are recorded now, by calling the function. They are made of the
    attribution of the right answer: of one in the store, or of the model.

    Args:
        path: of the file, which must not be there.
        call: of the function, or an evaluation's call of it.
        name: of the function, `module:name`.
        function: it.
        right: the answer that is right; by default what the evaluation expected, else what was answered.
        model: what explains the right answer, as in `attribute`.

    Raises:
        ConfigurationError: the call has no arguments, or there is no attribution of the right answer.
    """
    arguments = call.input
    if not isinstance(arguments, dict) or "." in name.partition(":")[2]:
        raise ConfigurationError(f"{name} cannot be called with the recorded input {call.input!r}: name a "
                                 "function of a module and a call of it whose input was kept")  # fmt: skip
    right = right if right is not None else call.metadata.get("expected", call.output)
    mutants, notes = _find_mutants(store, call, arguments, right, model)
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = ValueEncoder(build_redactor(True)).to_masked_json
    mutants = [mutant.model_copy(update={"input": mask(mutant.input)}) for mutant in mutants]
    arguments = mask(arguments)
    _write_cassette(path, store, call)
    path.write_text(_write_text(path, call, name, function, arguments, right, mutants), encoding="utf-8")
    return [*notes, *(note for mutant in mutants for note in _record_mutant(path, mutant, function))]


def _find_mutants(
    store: Store, call: Call, arguments: dict[str, Any], right: Any, model: Any
) -> tuple[list[Mutant], list[str]]:
    """Return the mutants, or none and why."""
    problem = None
    for attribution in _list_attributions(store, call, right, model):
        try:
            return make_mutants(attribution, arguments), []
        except ConfigurationError as exc:
            problem = f"no mutants: {exc}"
    if problem is None:
        raise ConfigurationError(
            f"call {call.span_id} has no attribution of {right!r}, the right answer: name a model that "
            "explains it (--model), such as the one that answered"
        )
    return [], [problem]


def _list_attributions(store: Store, call: Call, right: Any, model: Any) -> Iterator[Attribution]:
    """Yield attributions of the right answer, by the call or a model's call inside it."""
    inside = load(store, call.span_id).tape.calls
    calls = [one for one in store.trace(call.trace_id) if one.span_id in inside]
    models = [one for one in calls if one.kind == "llm" or one.messages_in] or [call]
    answered = str(call.output).strip()  # of an agent's many calls those that gave its answer
    asked = [one for one in models if str(one.output).strip() == answered] or models
    if model is None:
        for one in (call, *asked):
            for attribution in reversed(store.attributions(one.span_id)):
                if attribution.response.strip() == str(right).strip():
                    yield attribution
        return
    from llm_trace.attribution.api import attribute

    for one in asked:
        text = one.output if isinstance(one.output, str) else ""
        blanks = text[: len(text) - len(text.lstrip())]  # an answer's leading blank is part of its tokens
        yield attribute(one, blanks + str(right).strip(), model=model)


def _write_cassette(path: Path, store: Store, call: Call) -> None:
    """Write what happened in the call as the cassette of the failure's test, secrets masked."""
    mask = ValueEncoder(build_redactor(True)).to_masked_json
    calls: Sequence[Taped] = list(load(store, call.span_id).tape.calls.values())
    if "instance" in call.metadata:  # the evaluation's own, around the function
        calls = [one for one in calls if one.span_id != call.span_id]
    masked = [replace(one, input=mask(one.input), output=mask(one.output)) for one in calls]
    cassette.write(cassette.build_path(path, "test_the_failure"), cassette.dump(masked, SERVED))


def _record_mutant(path: Path, mutant: Mutant, function: Callable[..., Any]) -> list[str]:
    """Call the function with a mutant and keep the cassette; where it fails, say how to do it later."""
    place = cassette.build_path(path, f"test_a_mutant[{mutant.name}]")
    session = ReplaySession.begin("record", place)
    try:
        result = function(**mutant.input)
        if inspect.iscoroutine(result):
            asyncio.run(result)
    except Exception as exc:  # noqa: BLE001  # the program's own
        return [f"{mutant.name}: not recorded, {type(exc).__name__}: {exc}; pytest --llm-trace=record {path}"]
    finally:
        session.leave()
    return session.keep()


def _write_text(
    path: Path, call: Call, name: str, function: Callable[..., Any], arguments: dict[str, Any], right: Any,
    mutants: Sequence[Mutant],
) -> str:  # fmt: skip
    is_async = inspect.iscoroutinefunction(inspect.unwrap(function))
    module, _, short = name.partition(":")
    changes = {
        mutant.name: ({k: v for k, v in mutant.input.items() if v != arguments[k]}, mutant.flips)
        for mutant in mutants
    }
    shown = json.dumps(call.output, default=str).replace("\\", "").replace('"', "'")
    template = _TEXT + _MUTANTS if mutants else _TEXT
    return template.format(
        span_id=call.span_id, output=shown[:80], file=path.name,
        imports="import asyncio\n" if is_async else "",
        module=module, function=short, arguments=_format(arguments), right=_format(right),
        mutants=_format(changes), call=f"asyncio.run({short}" if is_async else short,
        close=")" if is_async else "",
    ).replace('"""\n\n\nimport', '"""\n\nimport')  # fmt: skip


def _format(value: Any) -> str:
    return pprint.pformat(value, width=100, sort_dicts=False)
