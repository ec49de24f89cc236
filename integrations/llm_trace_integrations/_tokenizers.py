"""Which text, by which tokenizer, gave the ids that a model of transformers is handed."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Any, NamedTuple
from weakref import ReferenceType, ref

from llm_trace.capture import failures
from llm_trace.instrumentation.patches import Patch, undo_patches

_MOST_TEXTS = 64
_MOST_CHARACTERS = 500_000


class Encoding(NamedTuple):
    """What a tokenizer made of a text or a chat."""

    tokenizer: ReferenceType[Any]
    source: dict[str, Any]
    """`prompt`, or `messages` and perhaps `tools`."""
    ids: tuple[int, ...]
    """Without padding."""


_recent: deque[Encoding] = deque(maxlen=2 * _MOST_TEXTS)


def watch_tokenizers() -> Callable[[], None]:
    """Remember what tokenizers encoded lately; return what ends that."""
    base = sys.modules["transformers.tokenization_utils_base"].PreTrainedTokenizerBase
    sources = {"__call__": _read_texts, "encode": _read_texts, "apply_chat_template": _read_chats}
    patches = []
    for name, read in sources.items():
        fn = vars(base)[name]
        if not hasattr(fn, "__llm_trace__"):
            patches.append(Patch(base, name, fn, fn, _watch(fn, read)))
            setattr(base, name, patches[-1].traced)

    def undo() -> None:
        undo_patches(patches)
        _recent.clear()

    return undo


def find_encoding(ids: Sequence[int]) -> Encoding | None:
    """Return the last encoding that gave these ids and whose tokenizer the program still holds."""
    wanted = tuple(ids)
    encodings = (e for e in reversed(list(_recent)) if e.ids == wanted)
    return next((e for e in encodings if e.tokenizer() is not None), None)


def count_tokens(tokenizer: Any, texts: Sequence[str]) -> int | None:
    """Return the tokens of texts that the tokenizer has just encoded, `None` where it is not known of all."""
    counts = {e.source.get("prompt"): len(e.ids) for e in list(_recent) if e.tokenizer() is tokenizer}
    return sum(counts[text] for text in texts) if all(text in counts for text in texts) else None


def unpad(rows: Any, mask: Any) -> list[list[int]]:
    """Return ids, one list a row, without those that a mask leaves out."""
    rows = rows.tolist() if hasattr(rows, "tolist") else rows
    if rows and not isinstance(rows[0], list):
        rows, mask = [rows], None if mask is None else [mask]
    masks = mask.tolist() if hasattr(mask, "tolist") else mask
    if masks is None or len(masks) != len(rows):
        return [list(row) for row in rows]
    return [
        [i for i, on in zip(row, keep, strict=False) if on] for row, keep in zip(rows, masks, strict=True)
    ]


def _watch(fn: Any, read: Callable[..., list[dict[str, Any]]]) -> Any:
    @wraps(fn)
    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        encoded = fn(self, *args, **kwargs)
        try:
            _remember(self, partial(read, *args, **kwargs), encoded)
        except Exception as exc:  # noqa: BLE001  the program goes on
            failures.note("what a tokenizer encoded", exc)
        return encoded

    watched.__llm_trace__ = fn  # type: ignore[attr-defined]
    return watched


def _remember(tokenizer: Any, read: Callable[[], list[dict[str, Any]]], encoded: Any) -> None:
    is_mapping = isinstance(encoded, Mapping) or hasattr(encoded, "encodings")
    ids = encoded.get("input_ids") if is_mapping else encoded
    if ids is None or isinstance(ids, str) or not (sources := read()):
        return
    rows = unpad(ids, encoded.get("attention_mask") if is_mapping else None)
    if len(rows) == len(sources) and all(type(i) is int for row in rows for i in row[:1]):
        _recent.extend(
            Encoding(ref(tokenizer), *pair) for pair in zip(sources, map(tuple, rows), strict=True)
        )


def _read_texts(text: Any = None, text_pair: Any = None, *_: Any, **options: Any) -> list[dict[str, Any]]:
    texts = [text] if isinstance(text, str) else text
    if text_pair is not None or not isinstance(texts, (list, tuple)) or len(texts) > _MOST_TEXTS:
        return []
    if not all(isinstance(each, str) for each in texts) or sum(map(len, texts)) > _MOST_CHARACTERS:
        return []
    return [{"prompt": each} for each in texts]


def _read_chats(conversation: Any = None, tools: Any = None, *_: Any, **options: Any) -> list[dict[str, Any]]:
    if not options.get("tokenize", True) or not isinstance(conversation, (list, tuple)) or not conversation:
        return []
    chats = [conversation] if isinstance(conversation[0], Mapping) else conversation
    if len(chats) > _MOST_TEXTS or not all(isinstance(m, Mapping) for chat in chats for m in chat):
        return []
    beside = {"tools": tools} if tools else {}
    return [{"messages": [dict(m) for m in chat], **beside} for chat in chats]
