"""The model behind a judge: each question a traced call, none asked twice."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from llm_trace.attribution.remote.answers import Answer, Answers
from llm_trace.capture.prompts import Rendered
from llm_trace.capture.spans import span
from llm_trace.errors import ConfigurationError, JudgeError
from llm_trace.evaluation.calling import is_awaited
from llm_trace.evaluation.grades import scored_call

JudgeResult = TypeVar("JudgeResult")


class JudgeModel:
    """Answers a judge's questions.

    Args:
        model: takes a prompt and returns a text; sync or async.
        name: of the judge, which its calls are named after.
        cache: a file, or a name of one in the user's cache folder, for answers of earlier processes; those of
            this judge are always remembered.

    Raises:
        ConfigurationError: the model is no function.
    """

    def __init__(self, model: Callable[[str], Any], name: str, cache: str | Path | None) -> None:
        if not callable(model):
            raise ConfigurationError(f"model={model!r} is no function from a prompt to a text")
        self.model, self.name, self.is_async = model, name, is_awaited(model)
        self._answers: dict[tuple[str, int], str] = {}
        self._file = None if cache is None else Answers(cache, {"judge": name})

    async def ask(self, prompt: Rendered, sample: int) -> str:
        """Return the n-th answer to a prompt; where it was asked before, the answer of then."""
        key = (str(prompt), sample)
        if key not in self._answers:
            before = None if self._file is None else self._file.get(key[0], sample)
            text = before.text if before is not None else await self._call(prompt, sample)
            if self._file is not None and before is None:
                self._file.put(key[0], sample, Answer(text))
            self._answers[key] = text
        return self._answers[key]

    async def _call(self, prompt: Rendered, sample: int) -> str:
        scored = scored_call.get()
        about = {"sample": sample} | ({"scored": scored} if scored else {})
        with span(self.name, kind="evaluator", input={"prompt": prompt}, metadata=about) as call:
            text = self.model(prompt)
            text = await text if inspect.isawaitable(text) else text
            call.set(output=text)
        if not isinstance(text, str):
            raise JudgeError(f"the model of judge {self.name!r} returned {text!r}, which is no text")
        return text

    def run(
        self, judging: Coroutine[Any, Any, JudgeResult]
    ) -> JudgeResult | Coroutine[Any, Any, JudgeResult]:
        """Return the result of judging, or, where the model is async, what is to be awaited for it."""
        return judging if self.is_async else run_to_end(judging)


def run_to_end(judging: Coroutine[Any, Any, JudgeResult]) -> JudgeResult:
    """Return the result of a coroutine that waits for nothing.

    Raises:
        ConfigurationError: it waits, as for a model that is async and does not look so.
    """
    try:
        judging.send(None)
    except StopIteration as exc:
        result: JudgeResult = exc.value
        return result
    judging.close()
    raise ConfigurationError("the judge's model is awaited: write it as `async def`")
