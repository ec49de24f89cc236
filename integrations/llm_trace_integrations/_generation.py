"""What one call of `generate` asked and answered, in words and token ids, tensors left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_trace_integrations._local_models import (
    build_message,
    describe,
    note_first_token,
    read_model,
    read_settings,
)
from llm_trace_integrations._tokenizers import find_encoding, unpad

_IDS = ("inputs", "input_ids", "attention_mask", "generation_config", "tokenizer")
_OTHER_STOPS = ("stop_strings", "stopping_criteria", "max_time")
_PLUMBING = ("_token_id", "_attentions", "_hidden_states", "use_cache", "transformers_version")
"""Endings of settings that do not change the answer, or belong to the tokenizer."""


class Generation:
    """One call of `generate`."""

    def __init__(self, model: Any, arguments: dict[str, Any], tokenizer: Any = None) -> None:
        self.model, self.arguments = model, arguments
        self.settings = read_settings(model, arguments)
        ids = arguments.get("inputs") if arguments.get("inputs") is not None else arguments.get("input_ids")
        self.ids = ids if ids is not None and ids.dim() == 2 and not ids.is_floating_point() else None
        self.prompts = [] if self.ids is None else unpad(self.ids, self._infer_mask(self.ids))
        self.encodings = [find_encoding(prompt) for prompt in self.prompts]
        known = (e.tokenizer() for e in self.encodings if e is not None)
        given = tokenizer, arguments.get("tokenizer"), getattr(arguments.get("streamer"), "tokenizer", None)
        self.tokenizer: Any = next((each for each in (*given, *known) if each is not None), None)

    @property
    def params(self) -> dict[str, Any]:
        """What the generation is set to, less what does not change the answer and was not given."""
        given = self.arguments.keys()
        return {n: v for n, v in self.settings.items() if n in given or not n.endswith(_PLUMBING)}

    def _setting(self, name: str) -> Any:
        return self.settings.get(name, getattr(self.model.generation_config, name, None))

    def _infer_mask(self, ids: Any) -> Any:
        """Return the mask of the prompt, as `generate` itself infers one that was not given."""
        mask, pad = self.arguments.get("attention_mask"), self._setting("pad_token_id")
        if mask is not None:
            return mask if mask.dim() == 2 and mask.shape == ids.shape else None
        return None if pad is None or pad in self._list_ends() else ids != pad

    def _list_ends(self) -> list[int]:
        ends = self._setting("eos_token_id")
        return [] if ends is None else [ends] if isinstance(ends, int) else list(ends)

    def read_request(self) -> dict[str, Any]:
        """Return the fields of the call before it runs."""
        if (streamer := self.arguments.get("streamer")) is not None:
            note_first_token(streamer)
        fields = read_model(self.model, self.tokenizer)
        return {
            **fields,
            "params": self.params,
            "input": self._read_input(),
            "read_response": self.read_response,
        }

    def _read_input(self) -> dict[str, Any]:
        rest = {
            name: describe(value)
            for name, value in self.arguments.items()
            if name not in _IDS and value is not None
        }
        return {**self._read_prompt(), **rest, **({"input_ids": _one(self.prompts)} if self.prompts else {})}

    def _read_prompt(self) -> dict[str, Any]:
        sources = [e.source for e in self.encodings if e is not None]
        if len(sources) < len(self.prompts):
            if self.tokenizer is None:
                return {}
            sources = [{"prompt": self._decode(prompt)} for prompt in self.prompts]
        if len(sources) == 1:
            return sources[0]
        return {"prompt": [each.get("prompt", each.get("messages")) for each in sources]} if sources else {}

    def _decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def read_response(self, output: Any, *, alone: bool = True) -> dict[str, Any]:
        """Return what was generated: texts, token ids, why each ended, and exact counts without padding.

        Args:
            alone: the prompts' ids are in the input; else they are named beside the answers'.
        """
        sequences = output["sequences"] if isinstance(output, Mapping) else output
        if not hasattr(sequences, "tolist"):  # a generate function of somebody's own
            return {}
        answers = [self._cut(row) for row in sequences[:, self._count_given() :].tolist()]
        repeats = len(answers) // max(1, len(self.prompts))
        prompts = [prompt for prompt in self.prompts for _ in range(repeats)] or [[]] * len(answers)
        texts = [self._read_text(prompt, ids) for prompt, (ids, _) in zip(prompts, answers, strict=True)]
        return {
            "output": _one(texts)
            if self.tokenizer is not None
            else {"token_ids": _one([a for a, _ in answers])},
            "messages_out": [
                build_message(text, *answer, prompt=None if alone else prompt)
                for text, answer, prompt in zip(texts, answers, prompts, strict=True)
            ],
            "usage": {
                "input_tokens": self._count_input(),
                "output_tokens": sum(len(ids) for ids, _ in answers),
            },
        }

    def _count_given(self) -> int:
        """Return how many columns of the output are no answer: the prompt, or the start of a decoder."""
        if self.model.config.is_encoder_decoder:
            start = self.arguments.get("decoder_input_ids")
            return 1 if start is None else int(start.shape[1])
        if self.ids is not None:
            return int(self.ids.shape[1])
        return 0 if self.arguments.get("inputs_embeds") is not None else 1

    def _count_input(self) -> int | None:
        if self.prompts:
            return sum(map(len, self.prompts))
        if (embeds := self.arguments.get("inputs_embeds")) is None:
            return 1 if self.arguments.get("inputs") is None else None
        mask = self.arguments.get("attention_mask")
        return int(embeds.shape[0] * embeds.shape[1] if mask is None else mask.sum())

    def _cut(self, ids: list[int]) -> tuple[list[int], str | None]:
        """Return the generated ids without what follows the end, and why they end."""
        ends, width = self._list_ends(), len(ids)
        if (end := next((at for at, i in enumerate(ids) if i in ends), None)) is not None:
            return ids[: end + 1], "stop"
        pad = self._setting("pad_token_id")
        while ids and ids[-1] == pad:
            ids = ids[:-1]
        if len(ids) < width:
            return ids, "stop"
        most = self._setting("max_new_tokens") or (self._setting("max_length") or 0) - self._count_given()
        others = any(self._setting(name) or self.arguments.get(name) for name in _OTHER_STOPS)
        return ids, "length" if not others or width >= most > 0 else "stop"

    def _read_text(self, prompt: list[int], ids: list[int]) -> str | None:
        """Return an answer as it continues its prompt, with a blank that begins it."""
        if self.tokenizer is None:
            return None
        if not self.model.config.is_encoder_decoder:
            before, whole = self._decode(prompt), self._decode([*prompt, *ids])
            if whole.startswith(before):
                return whole[len(before) :]
        return self._decode(ids)


def _one(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values
