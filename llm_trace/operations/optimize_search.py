"""gepa's search for a better template, and the model that it reflects with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.errors import ConfigurationError, MissingExtraError
from llm_trace.operations.optimize_adapter import COMPONENT

if TYPE_CHECKING:
    from llm_trace.operations.optimize_adapter import PromptTrial
    from llm_trace.operations.optimize_examples import Split

_REFLECTION = """An assistant is given this prompt template for every task:
```
<curr_param>
```

Names in single braces are variables that are filled in for each task: {names}. They are all there is; other
braces are doubled.{idle}

These are tasks, the assistant's answers and feedback on them:
```
<side_info>
```

Write a better template. Keep what makes right answers right; where the feedback says what is wrong, or which
words an answer rests on that it should not, change that. Give the template alone within ``` blocks."""


def import_gepa() -> Any:
    """Return the package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import gepa
    except ModuleNotFoundError as exc:
        raise MissingExtraError("optimize needs gepa: pip install 'llm-trace[optimize]'") from exc
    return gepa


def _name_model(name: str) -> Callable[[str], str]:
    """Return what asks a model by LiteLLM."""
    try:
        import litellm
    except ModuleNotFoundError as exc:
        raise MissingExtraError(
            f"reflect={name!r} names a model for LiteLLM: pip install 'llm-trace[litellm]', or give a "
            f"function from a text to a text"
        ) from exc

    def ask(text: str) -> str:
        answer = litellm.completion(model=name, messages=[{"role": "user", "content": text}])
        return str(answer.choices[0].message.content)

    return ask


@dataclass
class Reflection:
    """Writes templates; where it fails the search ends, which gepa by itself would not say.

    Raises:
        MissingExtraError: it is a name, and LiteLLM is not installed.
    """

    reflect: Callable[[str], str] | str
    fault: Exception | None = None

    def __post_init__(self) -> None:
        if isinstance(self.reflect, str):
            self.reflect = _name_model(self.reflect)

    def __call__(self, text: Any) -> str:
        """Return the answer."""
        try:
            answer = self.reflect(text)  # type: ignore[operator]
            if isinstance(answer, str):
                return answer
            kind = type(answer).__name__
            raise ConfigurationError(f"reflect returned a {kind}: return the template as a str")
        except Exception as exc:
            self.fault = exc
            raise

    def list_notes(self) -> Iterator[str]:
        """Yield what ended the search early."""
        if self.fault is not None:
            yield f"the search ended early: reflect failed with {type(self.fault).__name__}: {self.fault}"


class _Silence:
    def log(self, message: str) -> None:
        """Say nothing."""


def search_template(
    gepa: Any,
    trial: PromptTrial,
    template: str,
    split: Split,
    reflection: Reflection,
    idle: str,
    budget: int,
    seed: int,
) -> str:
    """Return the template that does best in validation; the one at hand where none is better.

    Raises:
        Exception: what the reflection raised before there was another template.
    """
    learnt_on = (*split.train, *split.validation)
    if all(outcome.grade == 1 for outcome in trial.try_template(learnt_on, template)):
        return template
    names = ", ".join(f"{{{name}}}" for name in split.train[0].values) or "none"
    result = gepa.optimize(
        seed_candidate={COMPONENT: template},
        trainset=list(split.train),
        valset=list(split.validation),
        adapter=trial,
        reflection_lm=reflection,
        reflection_prompt_template=_REFLECTION.replace("{names}", names).replace("{idle}", idle),
        max_metric_calls=budget,
        stop_callbacks=lambda _: reflection.fault is not None,
        logger=_Silence(),
        seed=seed,
    )
    if reflection.fault is not None and len(trial.tried) == 1:
        raise reflection.fault
    best = int(np.argmax(result.val_aggregate_scores))  # of equal ones the first, which is the one at hand
    winner = str(result.candidates[best][COMPONENT])
    return template if winner.strip() == template.strip() else winner
