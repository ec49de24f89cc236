"""The models of this process that made calls, so that a call is explained by the very one that answered."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from typing import Any
from weakref import ReferenceType, WeakKeyDictionary, ref

from llm_trace.errors import AttributionError
from llm_trace.record import Call

HANDLE = "live_model"
"""Where a call's metadata says by which model it was made."""
_PROCESS = os.urandom(4).hex()
_numbers = itertools.count(1)


@dataclass
class LiveModel:
    """A model that made calls, held no longer than the program holds it."""

    handle: str
    model: ReferenceType[Any]
    tokenizer: ReferenceType[Any] | None = None


_handles: WeakKeyDictionary[Any, LiveModel] = WeakKeyDictionary()
_models: dict[str, LiveModel] = {}


def note_live_model(model: Any, tokenizer: Any = None) -> str:
    """Return the handle of a model, by which its calls find it again while the program holds it.

    Args:
        tokenizer: what turned the prompt into its ids; `None` where that is not known: what was known stays.
    """
    live = _handles.get(model)
    if live is None:
        handle = f"{_PROCESS}-{next(_numbers)}"
        live = LiveModel(handle, ref(model, lambda _: _models.pop(handle, None)))
        _handles[model] = _models[handle] = live
    if tokenizer is not None:
        live.tokenizer = ref(tokenizer)
    return live.handle


def read_handle(call: Any) -> str | None:
    """Return the handle of the model that made a call, or one that was merged into it; `None` without any."""
    if not isinstance(call, Call):
        return None
    accounts = [call.metadata, *(same.get("metadata") or {} for same in call.metadata.get("same") or ())]
    return next((str(account[HANDLE]) for account in accounts if account.get(HANDLE)), None)


def find_live_model(call: Any, tokenizer: Any = None) -> tuple[Any, Any]:
    """Return the model that made a call and its tokenizer.

    Args:
        call: a logged call, or anything else that somebody wants explained.
        tokenizer: in place of the one that is known.

    Raises:
        AttributionError: it was made by no model that this process holds, or the tokenizer is not known.
    """
    handle = read_handle(call)
    if handle is None:
        what = f"call {call.span_id} ({call.name}) was" if isinstance(call, Call) else "this was"
        raise AttributionError(f"{what} not made by a model that is known here: pass model=")
    live = _models.get(handle)
    model = None if live is None else live.model()
    if live is None or model is None:
        why = "is gone" if handle.startswith(_PROCESS) else "belongs to another process"
        raise AttributionError(f"the model that made call {call.span_id} ({call.name}) {why}: pass model=")
    if tokenizer is None and live.tokenizer is not None:
        tokenizer = live.tokenizer()
    if tokenizer is None:
        raise AttributionError(
            f"the tokenizer of call {call.span_id} ({call.name}) is not known or gone: pass tokenizer="
        )
    return model, tokenizer
