"""What is read of tokenizers that others built: any field may be missing."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

TokenRole = Literal["bos", "eos", "unk", "pad"]


class SpecialToken(NamedTuple):
    """A token that a tokenizer sets apart, as id and as text."""

    id: int | None
    text: str | None


def read_special_token(tokenizer: Any, role: TokenRole) -> SpecialToken:
    """Return the token of a role; id and text are `None` where there is none."""
    text = getattr(tokenizer, f"{role}_token", None)
    return SpecialToken(getattr(tokenizer, f"{role}_token_id", None), None if text is None else str(text))


def list_special_texts(tokenizer: Any) -> set[str]:
    """Return the texts that are read as special tokens where they stand in a prompt."""
    if getattr(tokenizer, "split_special_tokens", False):
        return set()
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    texts = {*getattr(tokenizer, "all_special_tokens", ()), *(t.content for t in added if t.special)}
    return {str(text) for text in texts if text}


def has_chat_template(tokenizer: Any) -> bool:
    """Whether the tokenizer writes chats."""
    return bool(getattr(tokenizer, "chat_template", None))


def gives_offsets(tokenizer: Any) -> bool:
    """Whether the tokenizer says where each token stands in the text."""
    return bool(getattr(tokenizer, "is_fast", False))
