"""Values of keep-masks by a remote model: how close answers stay, or the response's log-probability."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.core.value import Capability, PartialError
from llm_trace.attribution.methods import distances
from llm_trace.attribution.methods.text_encoders import compute_cosine_distances
from llm_trace.attribution.remote.client import Caller, ModelRequest
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from llm_trace.attribution.remote.answers import Answer
    from llm_trace.attribution.remote.model import Compare
    from llm_trace.attribution.remote.prompts import RemotePrompts
    from llm_trace.record import Segment


RESPONSE = -1
"""Sample of the explained answer; those to compare with are -2, -3 …; no perturbed prompt has these."""


def list_remote_capabilities(*, vanishes: bool) -> frozenset[Capability]:
    """Return what a remote model's value function can do."""
    return frozenset(("resample", "remote", "vanishes") if vanishes else ("resample", "remote"))


class RemoteValue:
    """What the values of remote models share: prompts, budget, counts.

    Args:
        caller: asks the model.
        prompts: masks to prompts.
        samples: calls for each mask.
    """

    unit = "distance"

    def __init__(self, caller: Caller, prompts: RemotePrompts, samples: int = 1) -> None:
        self.caller, self.prompts, self.samples = caller, prompts, samples
        self.vanishes = prompts.vanishes
        """Whether the mask that keeps nothing has no prompt, see `randomization_tests.draw`."""
        self._ahead = 0
        """Calls that come before those for masks."""

    @property
    def passes(self) -> int:
        """Calls that were paid for."""
        return self.caller.ledger.spent.calls

    @property
    def tokens(self) -> int:
        """Tokens that were paid for."""
        return self.caller.ledger.spent.tokens

    def payload(self, mask: NDArray[np.bool_]) -> Any:
        """Return what is sent for a mask (n,)."""
        return self.prompts(mask)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do beside values."""
        return list_remote_capabilities(vanishes=self.vanishes)

    unmasked = 0

    def expect(self, evaluations: int) -> None:
        """Take no notice: the calls report their progress."""

    def remaining(self) -> int | None:
        """Return how many masks the budget pays for, `None` without a limit."""
        whole = self.payload(np.ones(self.prompts.n, dtype=bool))
        left = self.caller.room(self.caller.remote.read(whole))
        return None if left is None else max(0, left - self._ahead) // self.samples

    def __call__(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the values of masks; masks that give the same prompt share their answers."""
        return self._values(masks, [0] * len(masks))

    def resample(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the values of masks, each by its own answers: independent draws even of equal prompts."""
        return self._values(masks, self._count_turns(masks))

    def _count_turns(self, masks: NDArray[np.bool_]) -> list[int]:
        """Return for each mask how often its prompt came before."""
        seen: Counter[str] = Counter()
        turns = []
        for mask in masks:
            key = repr(self.payload(mask))
            turns.append(seen[key])
            seen[key] += 1
        return turns

    def _values(self, masks: NDArray[np.bool_], turns: Sequence[int]) -> NDArray[np.float64]:
        rows = self._ask_masks(masks, turns)
        done = np.array([all(a is not None for a in row) for row in rows], dtype=bool)
        values = self._measure_answers(
            [[a for a in row if a is not None] for row, whole in zip(rows, done, strict=True) if whole]
        )
        if not done.all():
            raise PartialError(self.caller.stopped or "the calls stopped", done, values)
        return values

    def _ask_masks(self, masks: NDArray[np.bool_], turns: Sequence[int]) -> list[list[Answer | None]]:
        """Return the answers to each mask's prompt; `turns`: how often it was asked before."""
        if self.vanishes and not masks.any(axis=1).all():
            raise AttributionError(
                "with every segment removed nothing is left to ask: keep one, or use baseline='mask'"
            )
        asked = [
            ModelRequest(self.payload(mask), turn * self.samples + s)
            for mask, turn in zip(masks, turns, strict=True)
            for s in range(self.samples)
        ]
        answers = self.caller.ask(asked)
        return [answers[i : i + self.samples] for i in range(0, len(answers), self.samples)]

    def _measure_answers(self, rows: list[list[Answer]]) -> NDArray[np.float64]:
        """Return the values (k,) or (k, m) of the answers to k prompts."""
        raise NotImplementedError


class TextValue(RemoteValue):
    """Minus the distance between answers and response, (k,): 0 where nothing changes, else less.

    Args:
        response: gives the answer that is explained; the model may have to be asked for it.
        known: whether it need not.
    """

    def __init__(
        self, caller: Caller, prompts: RemotePrompts, response: Callable[[], str], *, known: bool
    ) -> None:
        super().__init__(caller, prompts, caller.remote.samples)
        self.empty = 0
        """Answers without a word."""
        self._response, self._ahead = response, int(not known) + (self.samples if self.samples > 1 else 0)
        self.compare = caller.remote.compare
        self._distance = distances.find_distance(self.compare.distance)
        self._distance(np.zeros(self.samples), np.zeros(self.samples))  # says now where it needs more answers

    @property
    def response(self) -> str:
        """The answer that is explained."""
        return self._response()

    def texts(self, masks: NDArray[np.bool_]) -> list[str]:
        """Return one answer to each mask's prompt, equal ones asked again.

        Raises:
            AttributionError: the calls stopped before all were answered.
        """
        self.samples, self._ahead = 1, 0
        answers = [row[0] for row in self._ask_masks(masks, self._count_turns(masks))]
        texts = [answer.text for answer in answers if answer is not None]
        if len(texts) < len(answers):
            raise AttributionError(
                f"{self.caller.stopped}: {len(texts)} of {len(answers)} answers were given"
            )
        return texts

    def tell(self, question: Callable[[Sequence[Segment], str], str], example: str) -> str:  # noqa: ARG002
        """Return the model's reply to a question about the segments and the response; as a message where the
        prompt is of messages.

        Raises:
            AttributionError: the calls stopped before there was a reply.
        """
        self._prepare()
        text = question(self.prompts.segmented.segments, self.response)
        payload = [{"role": "user", "content": text}] if self.prompts.messages else text
        reply = self.caller.ask([ModelRequest(payload)])[0]
        if reply is None:
            raise AttributionError(self.caller.stopped or "the calls stopped")
        return reply.text

    def _values(self, masks: NDArray[np.bool_], turns: Sequence[int]) -> NDArray[np.float64]:
        self._prepare()
        return super()._values(masks, turns)

    def _prepare(self) -> None:
        """Ask for what answers are compared with, before anything else is paid."""
        _ = self.response, self._reference
        self._ahead = 0

    @cached_property
    def _reference(self) -> NDArray[np.float64]:
        """Distances of answers to the whole prompt from the response, as many as are compared; the
        response itself where that is one.
        """
        if self.samples == 1:
            return np.zeros(1)
        asked = [ModelRequest(self.prompts.whole, RESPONSE - 1 - s) for s in range(self.samples)]
        answers = [a for a in self.caller.ask(asked) if a is not None]
        if len(answers) < self.samples:
            raise AttributionError(self.caller.stopped or "the calls stopped")
        return measure_ground(self.compare, self.response, [a.text for a in answers])

    def _measure_answers(self, rows: list[list[Answer]]) -> NDArray[np.float64]:
        texts = [answer.text for row in rows for answer in row]
        if not texts:
            return np.empty(0)
        self.empty += sum(not text.strip() for text in texts)
        moved = measure_ground(self.compare, self.response, texts).reshape(len(rows), self.samples)
        return np.array([-self._distance(self._reference, row) for row in moved])


def measure_ground(compare: Compare, response: str, texts: Sequence[str]) -> NDArray[np.float64]:
    """Return the distance of each text from the response, (k,); equal texts are compared once."""
    distinct = list(dict.fromkeys(texts))
    if compare.ground == "cosine":
        vectors = np.asarray(compare.encoder([response, *distinct]), dtype=np.float64)
        moved = compute_cosine_distances(vectors[1:], vectors[:1])[:, 0]
    else:
        moved = np.array([_move_words(compare, response, text) for text in distinct])
    at = dict(zip(distinct, moved, strict=True))
    return np.array([at[text] for text in texts])


def _move_words(compare: Compare, response: str, text: str) -> float:
    """Return the word mover's distance; to an empty text it is 1, as between unrelated words."""
    ours, theirs = response.split(), text.split()
    if not ours or not theirs:
        return float(bool(ours) != bool(theirs))
    vectors = np.asarray(compare.encoder([*ours, *theirs]), dtype=np.float64)
    return distances.compute_word_mover(compute_cosine_distances(vectors[: len(ours)], vectors[len(ours) :]))


class ScoreValue(RemoteValue):
    """Log-probabilities of the response's tokens, (k, m); as a distance of their distributions, (k,).

    Args:
        response: what is explained.
        rows: which of its tokens, `None` for all.
        unit: `nats`, or `distance` for the distance that the model's `Compare` names.
    """

    def __init__(
        self,
        caller: Caller,
        prompts: RemotePrompts,
        response: str,
        rows: Sequence[int] | None = None,
        unit: str = "nats",
    ) -> None:
        super().__init__(caller, prompts)
        self.response, self.unit, self._rows = response, unit, rows

    def payload(self, mask: NDArray[np.bool_]) -> Any:
        return [self.prompts(mask), self.response]

    @cached_property
    def whole(self) -> Answer:
        """The response's tokens after the whole prompt.

        Raises:
            AttributionError: the server scores no tokens.
        """
        answer = self.caller.ask([ModelRequest(self.payload(np.ones(self.prompts.n, dtype=bool)))])[0]
        if answer is None:
            raise AttributionError(self.caller.stopped or "the calls stopped")
        if not answer.tokens:
            raise AttributionError(
                "the model gives no log-probabilities of the response: pass a plain callable to explain "
                "its texts"
            )
        return answer

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Where the response's tokens stand in it."""
        ends = np.cumsum([len(text) for text, _ in self.whole.tokens]).tolist()
        return list(zip([0, *ends[:-1]], ends, strict=True))

    def explain(self, rows: Sequence[int]) -> None:
        """Explain only these tokens."""
        self._rows = rows

    def _measure_answers(self, rows: list[list[Answer]]) -> NDArray[np.float64]:
        chosen = slice(None) if self._rows is None else list(self._rows)
        values = np.array([self._align_tokens(row[0])[chosen] for row in rows])
        if self.unit == "nats":
            return values
        measure = distances.find_distance(self.caller.remote.compare.distance)
        whole = self._align_tokens(self.whole)[chosen]
        return np.array([-measure(whole, row) for row in values])

    def _align_tokens(self, answer: Answer) -> NDArray[np.float64]:
        """Return log-probabilities by the tokens that the response has after the whole prompt: another
        prompt may cut it differently.
        """
        starts = np.array([a for a, _ in self.spans])
        out, at = np.zeros(len(starts)), 0
        for text, logprob in answer.tokens:
            out[max(0, int(np.searchsorted(starts, at, side="right")) - 1)] += logprob
            at += len(text)
        return out
