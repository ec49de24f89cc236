"""From keep-masks to the prompts that a remote model is sent: texts, or chat messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.models.questions import resolve_segments
from llm_trace.attribution.question import chat
from llm_trace.attribution.question.segments import segment
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llm_trace.attribution.models.questions import ParsedQuestion
    from llm_trace.attribution.question.segments import Segmented, SegmentSpec

_ELSEWHERE = ("token", "hierarchy")


@dataclass(frozen=True)
class RemotePrompts:
    """The prompt of a question and what becomes of it where segments are taken away."""

    segmented: Segmented
    messages: tuple[Mapping[str, Any], ...]
    """Empty where the prompt is a text."""
    filler: str | None
    """What stands where a segment was; `None` deletes."""
    baseline: str

    @property
    def n(self) -> int:
        """Number of segments."""
        return len(self.segmented.segments)

    def __call__(self, mask: NDArray[np.bool_]) -> Any:
        """Return the prompt with the segments (n,) that are kept: a str, or a list of messages."""
        if not self.messages:
            return self.segmented.render(mask, self.filler)
        contents = iter(self.segmented.contents(mask, self.filler))
        return [put_text(m, next(contents)) if chat.get_content(m) else dict(m) for m in self.messages]

    @property
    def whole(self) -> Any:
        """The prompt as it was."""
        return self(np.ones(self.n, dtype=bool))

    @property
    def vanishes(self) -> bool:
        """Whether nothing is left to send when every segment is taken away."""
        left = self(np.zeros(self.n, dtype=bool))
        texts = [left] if isinstance(left, str) else [chat.get_content(m) for m in left]
        return not any(text.strip() for text in texts)


def put_text(message: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return a message with another text; parts that are no text (images) stay."""
    body = message.get("content", message.get("parts"))
    if body is None or isinstance(body, str):
        return {**message, "content": text}
    others = [
        p for p in body if not isinstance(p, str) and not isinstance(p.get("text", p.get("content")), str)
    ]
    return {**message, "content": [{"type": "text", "text": text}, *others]}


def build_prompts(question: ParsedQuestion, segments: SegmentSpec, baseline: Any) -> RemotePrompts:
    """Return the prompt in segments.

    Raises:
        AttributionError: a segmentation or a baseline that needs a tokenizer.
    """
    if isinstance(segments, str) and segments in _ELSEWHERE:
        raise AttributionError(
            f"segments={segments!r} needs a model that can be opened; take word, phrase or sentence"
        )
    if not isinstance(baseline, str) or baseline in ("mean", "zero"):
        raise AttributionError(
            f"baseline={baseline!r} needs a model that can be opened; take 'delete', 'mask' or a text"
        )
    spec = resolve_segments(question, segments)
    filler = {"auto": None, "delete": None, "mask": "_"}.get(baseline, baseline)
    named = "delete" if filler is None else f"text: {filler!r}"
    if isinstance(question.prompt, str):
        return RemotePrompts(segment(str(question.prompt), spec), (), filler, named)
    rendered = chat.render_chat(question.prompt, None)
    return RemotePrompts(
        segment(rendered.text, spec, regions=rendered.regions), tuple(question.prompt), filler, named
    )
