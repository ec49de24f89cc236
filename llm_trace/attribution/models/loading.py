"""From what a user names as the model to a model and its tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from llm_trace.attribution.models.config import read_model_name
from llm_trace.attribution.models.kinds import detect_kind
from llm_trace.attribution.models.memory import measure_free_memory
from llm_trace.errors import AttributionError, MissingExtraError
from llm_trace.plugin_points import list_entry_points

GROUP = "llm_trace.models"
"""Entry points whose functions return (model, tokenizer); `demo` and `demo-agent` are the embedded ones."""
_EMBEDDED = {
    "demo": ("llm_trace.demo.model", "load_model"),
    "demo-agent": ("llm_trace.demo.agent_model", "load_agent_model"),
}
"""A checkout that was never installed has no entry points."""


def resolve_model(model: Any, tokenizer: Any = None) -> tuple[Any, Any, str]:
    """Return model, tokenizer and the model's name.

    Args:
        model: a transformers model, a name of the group `llm_trace.models`, or a path or hub name to load.
        tokenizer: needed with a model object; the model's own otherwise.

    Raises:
        AttributionError: a model object without a tokenizer, or a name that cannot be loaded.
        MissingExtraError: torch or transformers are not installed.
    """
    _require()
    if isinstance(model, str):
        loaded, own = _load(model)
        detect_kind(loaded)
        return loaded, tokenizer if tokenizer is not None else own, model
    detect_kind(model)
    if tokenizer is not None:
        return model, tokenizer, read_model_name(model)
    raise AttributionError(
        "a model object needs its tokenizer: attribute(…, model=model, tokenizer=tokenizer)"
    )


def check_memory(model: Any, *, copies: int = 1) -> None:
    """Check that a model that is named by a folder fits into the free memory, before anything is loaded.

    Raises:
        AttributionError: its weights are larger.
    """
    import torch

    folder = Path(model) if isinstance(model, str) else Path()
    sizes = [sum(file.stat().st_size for file in folder.glob(kind)) for kind in ("*.safetensors", "*.bin")]
    needed = copies * (sizes[0] or sizes[1]) if isinstance(model, str) and folder.is_dir() else 0
    free = measure_free_memory(torch.device("cpu"))
    if needed > free:
        each = f" for each of {copies} workers" if copies > 1 else ""
        raise AttributionError(
            f"the model {model!r} has {needed / copies / 1e9:.1f} GB of weights{each}, and "
            f"{free / 1e9:.1f} GB of memory are free: take fewer workers, a smaller model, or one in bfloat16"
        )


def _require() -> None:
    for library in ("torch", "transformers"):
        try:
            __import__(library)
        except ImportError as exc:
            raise MissingExtraError(f"{library!r} is not installed: pip install 'llm-trace[local]'") from exc


@lru_cache(maxsize=2)
def _load(name: str) -> tuple[Any, Any]:
    loader = next((point.load() for point in list_entry_points(GROUP) if point.name == name), None)
    if loader is None and name in _EMBEDDED:
        module, function = _EMBEDDED[name]
        loader = getattr(import_module(module), function)
    if loader is None:
        return _load_pretrained(name)
    try:
        loaded: tuple[Any, Any] = loader()
    except OSError as exc:
        raise AttributionError(f"the model {name!r} cannot be loaded: {exc}") from exc
    return loaded


def _load_pretrained(name: str) -> tuple[Any, Any]:
    import transformers

    check_memory(name)
    try:
        config = transformers.AutoConfig.from_pretrained(name)
        classes: Sequence[str] = config.architectures or ()
        loader: Any = transformers.AutoModelForCausalLM
        if config.is_encoder_decoder:
            loader = transformers.AutoModelForSeq2SeqLM
        elif any(c.endswith("ForSequenceClassification") for c in classes):
            loader = transformers.AutoModelForSequenceClassification
        model = loader.from_pretrained(name, dtype="auto")
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as exc:
        raise AttributionError(f"the model {name!r} cannot be loaded: {exc}") from exc
    return model.eval(), tokenizer
