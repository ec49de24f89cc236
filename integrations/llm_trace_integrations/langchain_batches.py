"""Several prompts that a chat model of LangChain is given at once: which of their calls the code runs in.

The callbacks tell of all of them before the first is asked, and of their ends when all are answered. What
asks for one of them knows its run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any

from llm_trace.capture.framework_calls import FrameworkCalls
from llm_trace.instrumentation.integration import replace_attribute

MODULE = "langchain_core.language_models.chat_models"


def start() -> Callable[[], None]:
    """Make current the call that a chat model asks for; return what undoes it."""
    model = sys.modules[MODULE].BaseChatModel
    generate, agenerate = model._generate_with_cache, model._agenerate_with_cache

    @wraps(generate)
    def generate_inside(*args: Any, **kwargs: Any) -> Any:
        with _enter_run(kwargs.get("run_manager")):
            return generate(*args, **kwargs)

    @wraps(agenerate)
    async def agenerate_inside(*args: Any, **kwargs: Any) -> Any:
        with _enter_run(kwargs.get("run_manager")):
            return await agenerate(*args, **kwargs)

    steps = [
        replace_attribute(model, "_generate_with_cache", generate_inside),
        replace_attribute(model, "_agenerate_with_cache", agenerate_inside),
    ]

    def undo() -> None:
        for step in steps:
            step()

    return undo


def _enter_run(run_manager: Any) -> AbstractContextManager[None]:
    handlers = getattr(run_manager, "handlers", ())
    calls = (getattr(handler, "_calls", None) for handler in handlers)
    ours = next((each for each in calls if isinstance(each, FrameworkCalls)), None)
    return nullcontext() if ours is None else ours.enter(run_manager.run_id)
