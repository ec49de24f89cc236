"""Embeddings and rerankers of sentence-transformers in this process.

Why not ride: nobody instruments them. Of vectors only shape and type are kept; tokens are those that the
model was fed, without padding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.instrumentation.integration import Integration, TracedMethod

if TYPE_CHECKING:
    from llm_trace.record import Kind


class Run:
    """One call of a model, and the tokens that it was fed."""

    def __init__(self, *, ranks: bool) -> None:
        self.ranks = ranks
        self.tokens = 0

    def add(self, _model: Any, _arguments: dict[str, Any], features: Any) -> dict[str, Any]:
        """Count the tokens of a batch."""
        mask = features.get("attention_mask") if hasattr(features, "get") else None
        self.tokens += int(mask.sum()) if mask is not None else 0
        return {}

    def read_response(self, output: Any) -> dict[str, Any]:
        """Return the tokens, scores as numbers, and of vectors what they are."""
        fields: dict[str, Any] = {"usage": {"input_tokens": self.tokens}} if self.tokens else {}
        form = _read_scores(output) if self.ranks else _describe_vectors(output)
        return fields if form is None else {**fields, "output": form}


def read_request(model: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the model and its settings."""
    from llm_trace_integrations._local_models import describe

    run = Run(ranks=hasattr(model, "rank"))
    names = ("truncate_dim", "precision", "normalize_embeddings", "prompt_name", "prompt", "top_k")
    card = getattr(model, "model_card_data", None)
    revision = getattr(card, "base_model_revision", None)
    return {
        "provider": "sentence-transformers",
        "model": _read_name(model),
        "params": {name: arguments[name] for name in names if arguments.get(name) is not None},
        "input": {name: describe(value) for name, value in arguments.items()},
        **({"metadata": {"revision": revision}} if revision else {}),
        "read_inner": run.add,
        "read_response": run.read_response,
    }


def _read_name(model: Any) -> str:
    """Return the path or the hub's name that a model was loaded from, else its class."""
    inner = getattr(model, "transformers_model", None) or getattr(model, "model", None)
    config = getattr(inner, "config", None)
    return str(getattr(config, "_name_or_path", "") or type(model).__name__)


def _describe_vectors(output: Any) -> dict[str, Any] | None:
    """Return shape and type of vectors, one or many, an array or a list; `None` of what else is returned."""
    if hasattr(output, "shape"):
        shape, array = list(output.shape), output
    elif isinstance(output, list) and output and hasattr(output[0], "shape"):
        shape, array = [len(output), *output[0].shape], output[0]
    else:
        return None
    return {"shape": shape, "dtype": str(array.dtype)}


def _read_scores(output: Any) -> Any:
    """Return a reranker's scores as numbers, `None` of what is JSON already."""
    if hasattr(output, "tolist"):
        return output.tolist()
    return [each.tolist() for each in output] if output and hasattr(output[0], "tolist") else None


def _list_methods() -> tuple[TracedMethod, ...]:
    asked = {
        "SentenceTransformer": ("encode",),
        "SparseEncoder": ("encode",),
        "CrossEncoder": ("predict", "rank"),
    }
    methods = []
    for cls, names in asked.items():
        kind: Kind = "reranker" if cls == "CrossEncoder" else "embedding"
        path = f"sentence_transformers:{cls}"
        methods += [
            TracedMethod(f"{path}.{n}", f"sentence_transformers.{n}", kind, since=False) for n in names
        ]
        methods += [
            TracedMethod(f"{path}.{n}", f"sentence_transformers.{n}", kind, since=False, recorded=False)
            for n in ("preprocess", "tokenize")
        ]
    return tuple(methods)


INTEGRATION = Integration(
    library="sentence-transformers",
    module="sentence_transformers",
    distribution="sentence-transformers",
    versions=">=3",
    tried="6.2.0",
    methods=_list_methods(),
    read_request=read_request,
)
