"""Models of transformers in this process: `generate`, which all models inherit, and pipelines of text.

Why not ride: nobody instruments them. A call holds what a provider would say: the prompt in words where the
tokenizer that made the ids is known, exact counts, why it ended. It also says which model here made
it, so that attribution explains it with that very model.
"""

from __future__ import annotations

from typing import Any

from llm_trace.instrumentation.integration import Integration, TracedMethod
from llm_trace_integrations._tokenizers import count_tokens, watch_tokenizers

_TEXT_PIPELINES = {
    "text_generation": ("TextGenerationPipeline",),
    "text2text_generation": ("Text2TextGenerationPipeline", "SummarizationPipeline", "TranslationPipeline"),
    "text_classification": ("TextClassificationPipeline",),
    "zero_shot_classification": ("ZeroShotClassificationPipeline",),
}


def read_request(owner: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return what a call of `generate`, or of a pipeline, asks."""
    from llm_trace_integrations._generation import Generation
    from llm_trace_integrations._local_models import read_model

    if not hasattr(owner, "postprocess"):
        return Generation(owner, arguments).read_request()
    run = PipelineRun(owner, arguments)
    return {
        **read_model(owner.model, owner.tokenizer),
        "read_inner": run.add,
        "read_response": run.read_response,
    }


class PipelineRun:
    """One call of a pipeline: what the generations inside it say together."""

    def __init__(self, pipeline: Any, arguments: dict[str, Any]) -> None:
        self.pipeline, self.arguments = pipeline, arguments
        self.inner: list[dict[str, Any]] = []

    def add(self, model: Any, arguments: dict[str, Any], output: Any) -> dict[str, Any]:
        """Note a generation, or what a pipeline calls of its own base class."""
        from llm_trace_integrations._generation import Generation

        if model is not self.pipeline:
            generation = Generation(model, arguments, self.pipeline.tokenizer)
            self.inner.append({**generation.read_response(output, alone=False), "params": generation.params})
        return {}

    def read_response(self, output: Any) -> dict[str, Any]:
        """Return what was generated, or the best label of each text."""
        if not self.inner:
            return self._read_labels(output)
        usages = [inner["usage"] for inner in self.inner]
        usage = {name: sum(each[name] for each in usages) for name in usages[0]}
        messages = [message for inner in self.inner for message in inner["messages_out"]]
        return {"params": self.inner[0]["params"], "usage": usage, "messages_out": messages}

    def _read_labels(self, output: Any) -> dict[str, Any]:
        (given, *_) = self.arguments.values()
        texts = [given] if isinstance(given, str) else given
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            return {}
        answers = output if isinstance(output, list) else [output]
        answers = answers if len(answers) == len(texts) else [answers]
        spoken = [label for answer in answers if (label := _find_best_label(answer)) is not None]
        tokens = count_tokens(self.pipeline.tokenizer, texts)
        return {
            "messages_out": [{"role": "assistant", "content": label} for label in spoken],
            **({"usage": {"input_tokens": tokens}} if tokens else {}),
        }


def _find_best_label(answer: Any) -> str | None:
    if isinstance(answer, dict) and "labels" in answer:  # zero-shot, best first
        return str(answer["labels"][0])
    scored = answer if isinstance(answer, list) else [answer]
    return str(max(scored, key=lambda each: each["score"])["label"]) if scored else None


def _list_methods() -> tuple[TracedMethod, ...]:
    pipelines = [
        TracedMethod(f"transformers.pipelines.{module}:{cls}.__call__", f"transformers.{module}", since=False)
        for module, classes in _TEXT_PIPELINES.items()
        for cls in classes
    ]
    return (
        TracedMethod("transformers.generation.utils:GenerationMixin.generate", "transformers.generate"),
        *pipelines,
    )


INTEGRATION = Integration(
    library="transformers",
    module="transformers",
    distribution="transformers",
    versions=">=4.50",
    tried="5.23.0",
    methods=_list_methods(),
    read_request=read_request,
    starts={"transformers.tokenization_utils_base": watch_tokenizers},
)
