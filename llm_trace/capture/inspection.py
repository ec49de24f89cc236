"""Works out a traced function's spec: its name, kind, shape and arguments."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any, Literal

from llm_trace import semconv
from llm_trace.capture.binding import build_binder
from llm_trace.capture.labels import to_mapping, to_tags
from llm_trace.capture.prompts import Prompt
from llm_trace.capture.spec import SERVED, FunctionSpec, Shape
from llm_trace.errors import ConfigurationError
from llm_trace.semconv.names import KIND_OF_SPELLING, KINDS

_SHAPES: tuple[tuple[Callable[[Any], bool], Shape], ...] = (
    (inspect.isasyncgenfunction, "async_generator"),
    (inspect.isgeneratorfunction, "generator"),
    (inspect.iscoroutinefunction, "coroutine"),
)
_MODEL_KINDS = {"llm", "embedding", "reranker"}


_Special = Literal["__call__", "__code__", "__module__", "__name__", "__qualname__"]


def _read_special(fn: Any, name: _Special) -> Any:
    """Return a special attribute of the user's function, `None` where another kind of callable has none."""
    return getattr(fn, name, None)


def is_iterable_coroutine(fn: Callable[..., Any]) -> bool:
    """Return whether a function is one of `types.coroutine`: what it yields is for the event loop."""
    code = _read_special(fn, "__code__")
    return isinstance(code, types.CodeType) and bool(code.co_flags & inspect.CO_ITERABLE_COROUTINE)


def get_function_name(fn: Callable[..., Any]) -> str:
    """Return the qualified name after the last `<locals>.`; the class's name for an object that is called."""
    fn = inspect.unwrap(fn)
    while isinstance(fn, functools.partial):
        fn = fn.func
    name = _read_special(fn, "__qualname__") or _read_special(fn, "__name__") or type(fn).__qualname__
    return str(name).rpartition("<locals>.")[2]


def parse_kind(kind: Any) -> str:
    """Return the kind that is meant, spelt as ours or OpenInference's, Langfuse's, LangSmith's, Traceloop's.

    Raises:
        ConfigurationError: it is none.
    """
    if kind in KINDS:
        return str(kind)
    spelling = KIND_OF_SPELLING.get(kind.lower()) if isinstance(kind, str) else None
    if spelling is None:
        raise ConfigurationError(f"kind {kind!r} is unknown; choose one of {', '.join(sorted(KINDS))}")
    return spelling


_DEFAULTS: dict[str, Any] = {
    "name": None,
    "kind": "chain",
    "model": None,
    "prompt": None,
    "tags": (),
    "metadata": None,
    "capture_input": True,
    "capture_output": True,
    "output_reducer": None,
    "attribution": None,
}


def build_spec(fn: Callable[..., Any], options: dict[str, Any]) -> FunctionSpec:
    """Return the spec of a function, from options of `trace`; those that are missing have their defaults.

    Raises:
        ConfigurationError: an option cannot work.
    """
    options = {**_DEFAULTS, **options}
    _check_options(options)
    names = _list_parameter_names(fn)
    is_method = names[:1] in (["self"], ["cls"]) and "." in get_function_name(fn)
    kind = parse_kind(options["kind"])
    return FunctionSpec(
        name=options["name"] or get_function_name(fn),
        kind=kind,
        model=options["model"],
        prompt=options["prompt"],
        tags=to_tags(options["tags"]),
        metadata=to_mapping("metadata", options["metadata"]),
        capture_input=options["capture_input"],
        capture_output=options["capture_output"],
        output_reducer=options["output_reducer"],
        attribution=options["attribution"],
        bind=build_binder(fn, is_method=is_method),
        code=_describe_code(fn),
        function=fn,
        shape=_shape(fn),
        served=kind in SERVED,
        asks_model="model" in names or (kind in _MODEL_KINDS and _has_parameters(fn, names)),
    )


def _check_options(options: dict[str, Any]) -> None:
    """Refuse options that would fail at every call."""
    prompt, reducer, policy = options["prompt"], options["output_reducer"], options["attribution"]
    if prompt is not None and not isinstance(prompt, Prompt):
        raise ConfigurationError(
            f"trace(prompt={prompt!r}) is no Prompt: write prompt=Prompt('name', 'template with "
            f"{{variables}}')"
        )
    if reducer is not None and not callable(reducer):
        raise ConfigurationError(f"trace(output_reducer={reducer!r}) cannot be called with a list of chunks")
    if policy is not None and not hasattr(policy, "mode"):
        raise ConfigurationError(f"trace(attribution={policy!r}) is no AttributionPolicy")


def protect_function(fn: Callable[..., Any], guard: Any) -> Callable[..., Any]:
    """Return the function behind a guard.

    Raises:
        ConfigurationError: it is no guard.
    """
    if not callable(getattr(guard, "protect", None)) or isinstance(guard, type):
        raise ConfigurationError(f"trace(guard={guard!r}) is no ToolGuard: write guard=ToolGuard(model)")
    protected: Callable[..., Any] = guard.protect(fn)
    return protected


def _shape(fn: Callable[..., Any]) -> Shape:
    """Return how a function gives its result; an async `__call__` counts as a coroutine function."""
    candidates = (fn, _read_special(type(fn), "__call__"))
    if is_iterable_coroutine(fn):
        return "coroutine"
    for is_a, shape in _SHAPES:
        if any(is_a(candidate) for candidate in candidates):
            return shape
    return "function"


def _has_parameters(fn: Callable[..., Any], names: list[str]) -> bool:
    """Return whether the arguments of this function can be a request to a model."""
    if not names:
        return True
    takes_any = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(fn).parameters.values())
    return takes_any or bool(semconv.request_fields({name: {"temperature": 1} for name in names}))


def _list_parameter_names(fn: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(fn).parameters)
    except (TypeError, ValueError):
        return []


def _describe_code(fn: Callable[..., Any]) -> dict[str, Any] | None:
    fn = inspect.unwrap(fn)
    module, name = _read_special(fn, "__module__"), _read_special(fn, "__qualname__")
    if not module or not name:
        return None
    where = _read_special(fn, "__code__")
    return {"function": f"{module}:{name}"} | (
        {"file": where.co_filename, "line": where.co_firstlineno} if where else {}
    )
