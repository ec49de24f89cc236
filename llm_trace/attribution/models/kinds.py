"""The kinds of models that can be read, and what a response is to each: a continuation, a translation, a
label.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

from llm_trace.attribution.question.tokenization import Codec, Response
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.attribution.models.batching import BatchLimits
    from llm_trace.attribution.models.causal import Forward

ModelKind = Literal["causal", "seq2seq", "classifier"]
_OTHERS = (
    "ForMaskedLM",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
    "ForPreTraining",
)


def detect_kind(model: Any) -> ModelKind:
    """Return what kind of model it is.

    Raises:
        AttributionError: not a transformers model, or one that neither continues a text nor answers or
            classifies it.
    """
    config, name = getattr(model, "config", None), type(model).__name__
    names = [kind.__name__ for kind in type(_unwrap_model(model)).__mro__]
    if config is None or not hasattr(model, "get_input_embeddings"):
        raise AttributionError(
            f"the model is a {name}; give a transformers model, a path, a name or a callable"
        )
    if any(n.endswith("ForSequenceClassification") for n in names):
        return "classifier"
    if getattr(config, "is_encoder_decoder", False):
        return "seq2seq"
    if any(n.endswith(_OTHERS) for n in names):
        raise AttributionError(
            f"{name} is not a causal language model, an encoder-decoder or a sequence classifier: others "
            f"are not supported"
        )
    return "causal"


def _unwrap_model(model: Any) -> Any:
    """Return the model inside adapters (PEFT) and `torch.compile`, whose class says the kind."""
    compiled = getattr(model, "_orig_mod", model)
    return compiled.get_base_model() if hasattr(compiled, "get_base_model") else compiled


def forward_of(model: Any, spine: Sequence[int], *, limits: BatchLimits | None = None) -> Forward:
    """Return what evaluates this kind of model."""
    from llm_trace.attribution.models.causal import CausalForward
    from llm_trace.attribution.models.encoder import ClassifierForward, Seq2SeqForward

    kinds = {"causal": CausalForward, "seq2seq": Seq2SeqForward, "classifier": ClassifierForward}
    return cast("Forward", kinds[detect_kind(model)](model, spine, limits=limits))


def make_response(model: Any, codec: Codec, prompt: str, said: str, *, own_special: bool) -> Response:
    """Return the response as this kind of model gives it.

    Raises:
        AttributionError: it has no token, or is no label of the classifier.
    """
    if detect_kind(model) == "classifier":
        return _label(said.strip(), label_id(model, said.strip()))
    return _lead_response(model, codec, codec.response(prompt, said, own_special=own_special))


def generate_answer(
    model: Any, codec: Codec, prompt: tuple[int, ...], most: int = 64
) -> tuple[str, Response]:
    """Return the model's own answer, decoded greedily.

    Raises:
        AttributionError: it says nothing.
    """
    from llm_trace.attribution.models.loading import generate

    kind = detect_kind(model)
    if kind == "classifier":
        labels = get_labels(model)
        best = _generate_text(model, prompt, 1)[0]
        return labels[best], _label(labels[best], best)
    if kind == "causal":
        return codec.generated(prompt, generate(model, prompt, most))
    said = _generate_text(model, prompt, most, _lead_response(model, codec, Response((), (), ())).lead)
    if not said:
        raise AttributionError("the model answers nothing to this prompt: pass the response to explain")
    text, response = codec.generated((), said)
    return text, _lead_response(model, codec, response)


def check_reproduces(model: Any, prompt: tuple[int, ...], response: Response) -> bool:
    """Whether the model, decoding greedily, would say this response itself."""
    from llm_trace.attribution.models.loading import check_follows

    if detect_kind(model) == "causal":
        return check_follows(model, prompt, response.ids)
    return _generate_text(model, prompt, len(response.ids), response.lead) == list(response.ids)


def _lead_response(model: Any, codec: Codec, response: Response) -> Response:
    """Return the response behind the code of its language, where the tokenizer has a target language and
    the model does not begin with one itself.
    """
    if detect_kind(model) != "seq2seq":
        return response
    from llm_trace.attribution.models.encoder import Seq2SeqForward

    begins = len(Seq2SeqForward(model).begin) > 1
    if begins or not codec.multilingual:
        return response
    language = codec.tokenizer.tgt_lang
    missing = None if language else "the tokenizer has no target language: set tokenizer.tgt_lang"
    notes = "; ".join(note for note in (response.note, missing) if note)
    return replace(response, lead=codec.lead, note=notes or None)


def label_id(model: Any, name: str) -> int:
    """Return the number of a classifier's label, by its name (in any case) or its number.

    Raises:
        AttributionError: no such label, or fewer than two labels.
    """
    labels = get_labels(model)
    found = [i for i, label in labels.items() if name.casefold() == label.casefold()]
    found += [i for i in labels if name == str(i)]  # names first: "1" may be the name of another
    if not found:
        raise AttributionError(
            f"the response {name!r} is not one of the model's labels: {', '.join(labels.values())}"
        )
    return found[0]


def get_labels(model: Any) -> dict[int, str]:
    """Return a classifier's labels by their numbers.

    Raises:
        AttributionError: it has one output, whose probability is always 1.
    """
    labels = {int(i): str(label) for i, label in model.config.id2label.items()}
    if len(labels) < 2:
        raise AttributionError(
            f"{type(model).__name__} has one output (num_labels=1): a regression has no labels whose "
            f"probability could be explained; "
            "wrap it in a function and pass that as the model"
        )
    return labels


def _label(text: str, number: int) -> Response:
    return Response((number,), ((0, len(text)),), (text,))


def _generate_text(model: Any, prompt: tuple[int, ...], most: int, lead: Sequence[int] = ()) -> list[int]:
    from llm_trace.attribution.models.encoder import ClassifierForward, Seq2SeqForward
    from llm_trace.attribution.models.loading import end_ids

    if detect_kind(model) == "classifier":
        return [ClassifierForward(model).answer(prompt)]
    return Seq2SeqForward(model).answer(prompt, most, end_ids(model), lead)
