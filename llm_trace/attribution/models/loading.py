"""From what a user names as the model to a model and its tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.models import abilities
from llm_trace.attribution.models.kinds import detect_kind
from llm_trace.errors import AttributionError, MissingExtraError

if TYPE_CHECKING:
    import torch

GROUP = "llm_trace.models"
"""Entry points whose functions return (model, tokenizer); `demo` is the embedded one."""


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
    name = str(getattr(model, "name_or_path", "") or type(model).__name__)
    if tokenizer is not None:
        return model, tokenizer, name
    raise AttributionError(
        "a model object needs its tokenizer: attribute(…, model=model, tokenizer=tokenizer)"
    )


def _require() -> None:
    for library in ("torch", "transformers"):
        try:
            __import__(library)
        except ImportError as exc:
            raise MissingExtraError(f"{library!r} is not installed: pip install 'llm-trace[local]'") from exc


@lru_cache(maxsize=2)
def _load(name: str) -> tuple[Any, Any]:
    loader = next((point.load() for point in entry_points(group=GROUP) if point.name == name), None)
    if loader is None and name == "demo":  # a checkout that was never installed has no entry points
        loader = import_module("llm_trace.demo.model").load_model
    if loader is None:
        return _load_pretrained(name)
    try:
        loaded: tuple[Any, Any] = loader()
    except OSError as exc:
        raise AttributionError(f"the model {name!r} cannot be loaded: {exc}") from exc
    return loaded


def _load_pretrained(name: str) -> tuple[Any, Any]:
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(name)
        classes: Sequence[str] = config.architectures or ()
        kind = "AutoModelForCausalLM"
        if config.is_encoder_decoder:
            kind = "AutoModelForSeq2SeqLM"
        elif any(c.endswith("ForSequenceClassification") for c in classes):
            kind = "AutoModelForSequenceClassification"
        model = getattr(transformers, kind).from_pretrained(name, dtype="auto")
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as exc:
        raise AttributionError(f"the model {name!r} cannot be loaded: {exc}") from exc
    return model.eval(), tokenizer


def generate(model: Any, prompt: Sequence[int], most: int = 64) -> list[int]:
    """Return the ids that the model itself says after the prompt, greedily, without the end token.

    Raises:
        AttributionError: it says nothing.
    """
    from llm_trace.attribution.models.causal import check_ids, get_context, run_undisturbed

    context = get_context(model)
    room = most if context is None else min(most, context - len(prompt))
    if room < 1:
        raise AttributionError(f"the prompt of {len(prompt)} tokens fills the model's context of {context}")
    ends = end_ids(model)
    said: list[int] = []
    past: Any = None
    check_ids(model, [prompt])
    abilities.check_causal(model, prompt)
    with run_undisturbed(model):
        while len(said) < room:
            logits, past = _step_model(model, [*prompt, *said], past)
            token = int(logits.argmax())
            if token in ends:
                break
            said.append(token)
    if not said:
        raise AttributionError(
            "the model answers nothing to this prompt (it ends at once): pass the response to explain"
        )
    return said


def _step_model(model: Any, ids: Sequence[int], past: Any) -> tuple[torch.Tensor, Any]:
    """Return the logits (vocabulary,) after the ids and the cache to go on from: the model's own, where a
    step from it was seen to give what a plain pass gives, else none.
    """

    def run(some: Sequence[int], **cache: Any) -> Any:
        import torch

        from llm_trace.attribution.models.causal import get_device

        return model(torch.tensor([list(some)], device=get_device(model)), **cache)

    if past is None:
        if abilities.check_stepping(model) is False:
            return run(ids, use_cache=False).logits[0, -1], None
        out = abilities.keep_cache(model, lambda keep: run(ids, use_cache=keep))
        return out.logits[0, -1], getattr(out, "past_key_values", None)
    if abilities.check_stepping(model):
        out = run(ids[-1:], past_key_values=past, use_cache=True)
        return out.logits[0, -1], out.past_key_values
    plain = run(ids, use_cache=False).logits[0, -1]
    stepped: list[Any] = []

    def cached() -> torch.Tensor:
        stepped.append(run(ids[-1:], past_key_values=past, use_cache=True))
        logits: torch.Tensor = stepped[0].logits[0, -1:]
        return logits

    fits = abilities.compare_step(model, cached, plain[None])
    return plain, stepped[0].past_key_values if fits else None


def end_ids(model: Any) -> frozenset[int]:
    """Return the tokens that end the model's answer."""
    settings: Any = getattr(model, "generation_config", None) or model.config
    ends = settings.get("eos_token_id") if isinstance(settings, Mapping) else settings.eos_token_id
    if ends is None:
        return frozenset()
    return frozenset([ends] if isinstance(ends, int) else ends)


def check_follows(model: Any, prompt: Sequence[int], response: Sequence[int]) -> bool:
    """Whether the model, decoding greedily, would say this response: one pass."""
    from llm_trace.attribution.models.causal import compute_last_logits

    best = compute_last_logits(model, [*prompt, *response[:-1]], len(response)).argmax(-1)
    return best.tolist() == list(response)
