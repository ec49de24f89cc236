"""The kinds of models that can be read, and what evaluates each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from llm_trace.attribution.models.causal import CausalForward
from llm_trace.attribution.models.config import is_encoder_decoder
from llm_trace.attribution.models.encoder import ClassifierForward, Seq2SeqForward
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from llm_trace.attribution.models.batching import BatchLimits
    from llm_trace.attribution.models.causal import Forward
    from llm_trace.attribution.models.spines import Spine

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
    name = type(model).__name__
    names = [kind.__name__ for kind in type(_unwrap_model(model)).__mro__]
    if not hasattr(model, "config") or not hasattr(model, "get_input_embeddings"):
        raise AttributionError(
            f"the model is a {name}; give a transformers model, a path, a name or a callable"
        )
    if any(n.endswith("ForSequenceClassification") for n in names):
        return "classifier"
    if is_encoder_decoder(model.config):
        return "seq2seq"
    if any(n.endswith(_OTHERS) for n in names):
        raise AttributionError(
            f"{name} is not a causal language model, an encoder-decoder or a sequence classifier: others are "
            "not supported"
        )
    return "causal"


def _unwrap_model(model: Any) -> Any:
    """Return the model inside adapters (PEFT) and `torch.compile`, whose class says the kind."""
    compiled = getattr(model, "_orig_mod", model)
    return compiled.get_base_model() if hasattr(compiled, "get_base_model") else compiled


def forward_of(model: Any, spine: Spine, *, limits: BatchLimits | None = None) -> Forward:
    """Return what evaluates this kind of model."""
    kinds = {"causal": CausalForward, "seq2seq": Seq2SeqForward, "classifier": ClassifierForward}
    return cast("Forward", kinds[detect_kind(model)](model, spine, limits=limits))
