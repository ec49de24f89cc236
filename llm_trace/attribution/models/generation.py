"""What a model answers by itself, decoded greedily, and whether that is a given response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.models import abilities
from llm_trace.attribution.models.causal_passes import PassRequest, answer_requests
from llm_trace.attribution.models.config import read_context_length, read_generation_config
from llm_trace.attribution.models.encoder import ClassifierForward, Seq2SeqForward
from llm_trace.attribution.models.evaluation import check_ids, get_device, run_undisturbed
from llm_trace.attribution.models.kinds import detect_kind
from llm_trace.attribution.models.responses import get_labels, lead_response, make_label
from llm_trace.attribution.models.turns import answer_in_turn
from llm_trace.attribution.question.objective import Query
from llm_trace.attribution.question.tokenization import Response
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    import torch

    from llm_trace.attribution.question.tokenization import Codec


class NoAnswerError(AttributionError):
    """The model ends at once."""


def generate_answer(
    model: Any, codec: Codec, prompt: tuple[int, ...], most: int = 64
) -> tuple[str, Response]:
    """Return the model's own answer, decoded greedily.

    Raises:
        AttributionError: it says nothing.
    """
    kind = detect_kind(model)
    if kind == "classifier":
        labels = get_labels(model)
        best = ClassifierForward(model).answer(prompt)
        return labels[best], make_label(labels[best], best)
    if kind == "causal":
        return codec.split_generated(prompt, generate(model, prompt, most))
    lead = lead_response(model, codec, Response((), (), ())).lead
    ids = Seq2SeqForward(model).answer(prompt, most, find_end_ids(model), lead)
    if not ids:
        raise NoAnswerError("the model answers nothing to this prompt: pass the response to explain")
    text, response = codec.split_generated((), ids)
    return text, lead_response(model, codec, response)


def check_reproduces(model: Any, prompt: tuple[int, ...], response: Response) -> bool:
    """Whether the model, decoding greedily, would say this response itself."""
    kind = detect_kind(model)
    if kind == "causal":
        return check_follows(model, prompt, response.ids)
    if kind == "classifier":
        return [ClassifierForward(model).answer(prompt)] == list(response.ids)
    ids = Seq2SeqForward(model).answer(prompt, len(response.ids), find_end_ids(model), response.lead)
    return ids == list(response.ids)


def check_follows(model: Any, prompt: Sequence[int], response: Sequence[int]) -> bool:
    """Whether a causal model, decoding greedily, would say this response: one pass."""
    query = Query.of(response, range(len(response)))
    request = PassRequest(model, [tuple(prompt)], query, lambda _rows, _tokens: None, reading="best")
    return bool(answer_in_turn(request, answer_requests).all())


def generate(model: Any, prompt: Sequence[int], most: int = 64) -> list[int]:
    """Return the ids that a causal model itself says after the prompt, greedily, without the end token.

    Raises:
        AttributionError: it says nothing.
    """
    context = read_context_length(model.config)
    room = most if context is None else min(most, context - len(prompt))
    if room < 1:
        raise AttributionError(f"the prompt of {len(prompt)} tokens fills the model's context of {context}")
    ends = find_end_ids(model)
    answer: list[int] = []
    past: Any = None
    check_ids(model, [prompt])
    abilities.check_causal(model, prompt)
    with run_undisturbed(model):
        while len(answer) < room:
            logits, past = _step_model(model, [*prompt, *answer], past)
            token = int(logits.argmax())
            if token in ends:
                break
            answer.append(token)
    if not answer:
        raise NoAnswerError(
            "the model answers nothing to this prompt (it ends at once): pass the response to explain"
        )
    return answer


def _step_model(model: Any, ids: Sequence[int], past: Any) -> tuple[torch.Tensor, Any]:
    """Return the logits (vocabulary,) after the ids and the cache to go on from: the model's own, where a
    step from it was seen to give what a plain pass gives, else none.
    """

    def run(some: Sequence[int], **cache: Any) -> Any:
        import torch

        return model(torch.tensor([list(some)], device=get_device(model)), **cache)

    if past is None:
        if abilities.check_stepping(model) is False:
            return run(ids, use_cache=False).logits[0, -1], None
        out, cache = abilities.keep_cache(model, lambda keep: run(ids, use_cache=keep))
        return out.logits[0, -1], cache
    if abilities.check_stepping(model):
        out = run(ids[-1:], past_key_values=past, use_cache=True)
        return out.logits[0, -1], out.past_key_values
    plain = run(ids, use_cache=False).logits[0, -1]
    stepped: list[Any] = []

    def step_cached() -> torch.Tensor:
        stepped.append(run(ids[-1:], past_key_values=past, use_cache=True))
        logits: torch.Tensor = stepped[0].logits[0, -1:]
        return logits

    fits = abilities.compare_step(model, step_cached, plain[None])
    return plain, stepped[0].past_key_values if fits else None


def find_end_ids(model: Any) -> frozenset[int]:
    """Return the tokens that end the model's answer."""
    settings: Any = read_generation_config(model) or model.config
    ends = settings.get("eos_token_id") if isinstance(settings, Mapping) else settings.eos_token_id
    if ends is None:
        return frozenset()
    return frozenset([ends] if isinstance(ends, int) else ends)
