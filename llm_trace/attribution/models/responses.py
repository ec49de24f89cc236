"""What a response is to each kind of model: a continuation, a translation behind its language, a label."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.models.encoder import Seq2SeqForward
from llm_trace.attribution.models.kinds import detect_kind
from llm_trace.attribution.question.tokenization import Response
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from llm_trace.attribution.question.tokenization import Codec


def make_response(model: Any, codec: Codec, prompt: str, text: str, *, own_special: bool) -> Response:
    """Return the response as this kind of model gives it.

    Raises:
        AttributionError: it has no token, or is no label of the classifier.
    """
    if detect_kind(model) == "classifier":
        return make_label(text.strip(), find_label(model, text.strip()))
    return lead_response(model, codec, codec.response(prompt, text, own_special=own_special))


def lead_response(model: Any, codec: Codec, response: Response) -> Response:
    """Return the response behind the code of its language, where the tokenizer has a target language and
    the model does not begin with one itself.
    """
    if detect_kind(model) != "seq2seq":
        return response
    begins = len(Seq2SeqForward(model).begin) > 1
    if begins or not codec.multilingual:
        return response
    language = codec.tokenizer.tgt_lang
    missing = None if language else "the tokenizer has no target language: set tokenizer.tgt_lang"
    notes = "; ".join(note for note in (response.note, missing) if note)
    return replace(response, lead=codec.lead, note=notes or None)


def make_label(text: str, number: int) -> Response:
    """Return a classifier's label as a response of one token."""
    return Response((number,), ((0, len(text)),), (text,))


def find_label(model: Any, name: str) -> int:
    """Return the number of a classifier's label, by its name (in any case) or its number.

    Raises:
        AttributionError: no such label, or fewer than two labels.
    """
    labels = get_labels(model)
    numbers = [i for i, label in labels.items() if name.casefold() == label.casefold()]
    numbers += [i for i in labels if name == str(i)]  # names first: "1" may be the name of another
    if not numbers:
        raise AttributionError(
            f"the response {name!r} is not one of the model's labels: {', '.join(labels.values())}"
        )
    return numbers[0]


def get_labels(model: Any) -> dict[int, str]:
    """Return a classifier's labels by their numbers.

    Raises:
        AttributionError: it has one output, whose probability is always 1.
    """
    labels = {int(i): str(label) for i, label in model.config.id2label.items()}
    if len(labels) < 2:
        raise AttributionError(
            f"{type(model).__name__} has one output (num_labels=1): a regression has no labels whose "
            "probability could be explained; wrap it in a function and pass that as the model"
        )
    return labels
