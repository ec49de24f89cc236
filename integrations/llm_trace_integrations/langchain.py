"""LangChain and LangGraph, by a callback handler.

Why not ride: in 21 programs OpenInference's handler (0.1.80) was never current while a model ran, so that
beside an SDK's instrumentation each request was counted twice; cancelled runs and streams left early were
errors; tags, the time of the first token, and Anthropic's cached tokens were lost.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

from llm_trace.capture.framework_calls import FrameworkCalls
from llm_trace.capture.spec import FunctionSpec
from llm_trace.instrumentation.integration import Integration
from llm_trace_integrations import langchain_batches
from llm_trace_integrations import langchain_values as values

_OWN_TAGS = ("seq:step:", "map:key:", "condition:", "branch:", "langsmith:", "graph:step:")
_OWN_METADATA = ("ls_", "lc_", "__")


class Handler:
    """What LangChain tells of each run; a `BaseCallbackHandler` by its methods."""

    raise_error = False
    run_inline = True  # else an async program runs it in another context
    ignore_llm = ignore_chain = ignore_agent = ignore_retriever = ignore_chat_model = False
    ignore_retry = False
    ignore_custom_event = True

    def __init__(self) -> None:
        self._calls = FrameworkCalls()
        self.on_chain_end = self.on_tool_end = self.on_retriever_end = self._finish
        self.on_chain_error = self.on_tool_error = self.on_retriever_error = self._fail
        self.on_llm_error = self._fail
        self.on_llm_new_token = self.on_stream_event = self._note_chunk
        self.on_text = self.on_agent_action = self.on_agent_finish = self._ignore
        self.on_interrupt = self.on_resume = self._ignore

    def on_chain_start(self, serialized: Any, inputs: Any, **run: Any) -> None:
        """Begin the call of a runnable, or of a graph's node."""
        arguments = inputs if type(inputs) is dict else {"input": inputs}
        kind = "agent" if "agent" in values.read_name(serialized, run).lower() else "chain"
        self._begin(kind, serialized, arguments, run, is_inside=partial(_is_child_of, run["run_id"]))

    def on_tool_start(self, serialized: Any, input_str: str, *, inputs: Any = None, **run: Any) -> None:
        """Begin the call of a tool."""
        arguments = inputs if type(inputs) is dict else {"input": input_str}
        self._begin("tool", serialized, arguments, run, is_inside=partial(_is_child_of, run["run_id"]))

    def on_retriever_start(self, serialized: Any, query: str, **run: Any) -> None:
        """Begin the call of a retriever."""
        self._begin("retriever", serialized, {"query": query}, run)

    def on_chat_model_start(self, serialized: Any, messages: list[list[Any]], **run: Any) -> None:
        """Begin the call of a chat model."""
        self._begin_model(serialized, {"messages": [values.dump_message(each) for each in messages[0]]}, run)

    def on_llm_start(self, serialized: Any, prompts: list[str], **run: Any) -> None:
        """Begin the call of a model that completes texts."""
        self._begin_model(serialized, {"prompt": prompts[0]}, run)

    def on_llm_end(self, response: Any, *, run_id: Any, **_: Any) -> None:
        """End the call of a model."""
        output, fields = values.read_result(response)
        self._calls.finish(run_id, output, **fields)

    def on_retry(self, retry_state: Any, *, run_id: Any, **_: Any) -> None:
        """Note that the model is about to be asked again."""
        self._calls.set(run_id, metadata={"retries": retry_state.attempt_number})

    def _begin_model(self, serialized: Any, asked: dict[str, Any], run: dict[str, Any]) -> None:
        params = {
            k: v for k, v in (run.get("invocation_params") or {}).items() if v is not None and k != "_type"
        }
        self._begin("llm", serialized, {**params, **asked}, run, siblings=run.get("batch_size", 1) > 1)

    def _begin(
        self, kind: str, serialized: Any, arguments: dict[str, Any], run: dict[str, Any], **where: Any
    ) -> None:
        metadata = run.get("metadata") or {}
        fields = values.read_metadata(metadata, kind)
        spec = FunctionSpec(
            values.read_name(serialized, run),
            kind,
            model=metadata.get("ls_model_name") if kind == "llm" else None,
            tags=tuple(tag for tag in run.get("tags") or () if not tag.startswith(_OWN_TAGS)),
            metadata={k: v for k, v in metadata.items() if not k.startswith(_OWN_METADATA)},
            bind=lambda **arguments: arguments,
            asks_model=kind == "llm",
            library="langchain",
            read_request=lambda *_: fields,
        )
        self._calls.begin(spec, run["run_id"], run.get("parent_run_id"), arguments, **where)

    def _finish(self, output: Any, *, run_id: Any, inputs: Any = None, **_: Any) -> None:
        self._calls.finish(run_id, values.dump_output(output), **values.read_streamed_input(inputs))

    def _fail(
        self, error: BaseException, *, run_id: Any, response: Any = None, inputs: Any = None, **_: Any
    ) -> None:
        if any(cls.__name__ == "GraphBubbleUp" for cls in type(error).__mro__):
            self._calls.finish(run_id, error.args[0] if error.args else None)  # a graph waits for a human
            return
        output, fields = (
            values.read_result(response)
            if values.has_chunks(response)
            else (None, values.read_streamed_input(inputs))
        )
        self._calls.fail(run_id, error, output, **fields)

    def _note_chunk(self, *_: Any, run_id: Any, **__: Any) -> None:
        self._calls.note_chunk(run_id)

    def _ignore(self, *_: Any, **__: Any) -> None:
        pass


def start() -> Callable[[], None]:
    """Let LangChain give a handler of ours to every run; return what undoes it."""
    from langchain_core.tracers import context

    hooks: list[Any] = context._configure_hooks
    if any(isinstance(hook[0].get(), Handler) for hook in hooks):
        return lambda: None
    variable: ContextVar[Any] = ContextVar("llm_trace.langchain", default=Handler())  # noqa: B039
    context.register_configure_hook(variable, inheritable=True)
    hook = hooks[-1]
    return lambda: hooks.remove(hook) if hook in hooks else None


def _is_child_of(run_id: Any) -> bool:
    """Return whether the code that asks runs inside a run, of which LangChain makes a context."""
    config = sys.modules["langchain_core.runnables.config"].var_child_runnable_config.get() or {}
    return bool(getattr(config.get("callbacks"), "parent_run_id", None) == run_id)


INTEGRATION = Integration(
    library="langchain",
    module="langchain_core",
    distribution="langchain-core",
    versions=">=1.0",
    tried="1.7.2",
    starts={"langchain_core.tracers.context": start, langchain_batches.MODULE: langchain_batches.start},
)
