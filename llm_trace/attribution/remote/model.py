"""`Remote`: how a model that cannot be opened is asked, what it costs and how its answers are compared."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from llm_trace.attribution.core.naming import name_callable
from llm_trace.attribution.methods.text_encoders import Lexical
from llm_trace.attribution.remote.answers import Answer
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from llm_trace.attribution.methods.text_encoders import TextEncoder
    from llm_trace.attribution.remote.ledger import Price


def encode_bytes(text: str) -> int:
    """Return the UTF-8 bytes of a text: no tokenizer makes more tokens of it."""
    return len(text.encode("utf-8", "surrogatepass"))


@runtime_checkable
class ScoringModel(Protocol):
    """A callable that gives log-probabilities too, as `Completions` does."""

    score: Callable[[str, str], Any]


@dataclass(frozen=True)
class Compare:
    """How far two sets of answers are apart.

    First each answer's distance to the response is taken (`ground`), then `distance` is taken between two
    samples of these: the answers to the perturbed prompt and those to the whole one. With one answer each and
    `wasserstein` that is the answer's distance itself.
    """

    encoder: TextEncoder = field(default_factory=Lexical)
    """Texts to vectors (k, d); the default needs no model and only sees letters."""
    ground: str = "cosine"
    """`cosine` of whole answers, or `word_mover` between their words."""
    distance: str = "wasserstein"
    """One of `distances.DISTANCES`."""

    def __post_init__(self) -> None:
        if self.ground not in ("cosine", "word_mover"):
            raise AttributionError(f"ground={self.ground!r} must be 'cosine' or 'word_mover'")


@dataclass(frozen=True)
class Remote:
    """A model behind a callable.

    Raises:
        AttributionError: a setting that cannot work.
    """

    ask: Callable[[Any], Any]
    """`str -> str` or `messages -> str`, sync or async, as the prompt is; may return an `Answer`. An
    attribute `score(prompt, response) -> Answer` with `tokens` gives log-probabilities of a response.
    """
    name: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    """What else decides the answers (temperature, system fingerprint …): part of the key of kept answers."""
    concurrency: int = 16
    """Calls at once."""
    timeout_s: float = 120.0
    """For one call; it is then made again, and counts as paid."""
    patience_s: float = 900.0
    """How long the model may answer nothing but rate limits and errors before the rest is given up."""
    samples: int = 1
    """Answers that are compared for each perturbed prompt."""
    max_output_tokens: int | None = None
    """The longest answer that the callable asks for; budgets in tokens or dollars need it."""
    price: Price | None = None
    count_tokens: Callable[[str], int] = encode_bytes
    """Tokens of a text, never too few; without a tokenizer the bytes, about four times as many."""
    compare: Compare = field(default_factory=Compare)

    def __post_init__(self) -> None:
        for setting, number in (("concurrency", self.concurrency), ("samples", self.samples)):
            if number < 1:
                raise AttributionError(f"{setting}={number!r} must be 1 or more")
        if self.timeout_s <= 0 or self.patience_s < 0:
            raise AttributionError(
                f"timeout_s={self.timeout_s!r} and patience_s={self.patience_s!r} must be positive"
            )

    @property
    def label(self) -> str:
        """The model's name, or that of the callable."""
        name = getattr(self.ask, "model", None) or name_callable(self.ask)
        return self.name or str(name).rsplit("<locals>.", 1)[-1]

    @property
    def score(self) -> Callable[[str, str], Any] | None:
        """What gives log-probabilities, where the model does."""
        return self.ask.score if isinstance(self.ask, ScoringModel) else None

    def read(self, payload: Any) -> int:
        """Return the input tokens of a prompt, at most."""
        return self.count_tokens(
            payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
        )


def make_remote(model: Any) -> Remote | None:
    """Return the model as a `Remote` where it is one or a callable, `None` where it can be opened."""
    if isinstance(model, Remote):
        return model
    torch = sys.modules.get("torch")
    if (
        not callable(model)
        or isinstance(model, type)
        or (torch is not None and isinstance(model, torch.nn.Module))
    ):
        return None
    return Remote(model)


def is_async(fn: Any) -> bool:
    """Whether calling it gives something to await."""
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(fn.__call__)


def build_answer(reply: Any) -> Answer:
    """Return what a callable returned as an `Answer`.

    Raises:
        AttributionError: it is neither a text nor an `Answer`.
    """
    if isinstance(reply, Answer):
        return reply
    if isinstance(reply, str):
        return Answer(reply)
    raise AttributionError(
        f"the model returned a {type(reply).__name__}: return the answer's text as a str, or an Answer"
    )
