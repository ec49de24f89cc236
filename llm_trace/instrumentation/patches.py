"""Put traced methods in the place of a library's own, and take them out again."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

from llm_trace.capture import failures
from llm_trace.capture.callspan import CallSpan, current_call
from llm_trace.capture.inspection import build_spec
from llm_trace.capture.spec import FunctionSpec, Shape
from llm_trace.capture.wrappers import set_flag, wrap_function
from llm_trace.instrumentation.integration import Integration, TracedMethod

_HIDDEN = frozenset(
    [
        "api_key",
        "azure_ad_token",
        "client",
        "extra_headers",
        "extra_query",
        "headers",
        "http_client",
        "timeout",
    ]
)
"""Arguments that say how to reach a server and not what to ask: they may hold keys, and do not belong to the
input."""
_SERVERS = frozenset(["mcp_servers", "tools"])
_KEYS = frozenset(["authorization", "authorization_token", "headers"])
"""Entries of a tool that is a server (MCP) by which the provider is let in there."""
_SENTINELS = frozenset(["NotGiven", "Omit"])
"""Classes of the values by which SDKs say that an argument was not given."""


@dataclass
class Patch:
    """One traced method that stands in the place of a library's own."""

    owner: Any
    """A class, or a module."""
    name: str
    original: Any
    """As it stands in the owner's namespace: a function, a `staticmethod` …; absent where it is inherited."""
    function: Any
    """The same as the program gets it."""
    traced: Any
    on: bool = True

    def put_back(self) -> None:
        """Give a class its own method back; where another patch lies over ours, ours only calls through."""
        if vars(self.owner).get(self.name) is not self.traced:
            return
        if self.original is _INHERITED:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self.original)


_INHERITED = object()
_DECORATED = Patch(None, "", None, None, None)
"""In the place of the patch of what is traced by a decorator."""


def put_in_place(patches: Sequence[Patch]) -> None:
    """Put functions in the place of a library's own, also where the program has imported them by name
    already; methods are there from when their patch was made.
    """
    _replace_functions((each.function, each.traced) for each in patches if inspect.ismodule(each.owner))


def undo_patches(patches: Sequence[Patch]) -> None:
    """Give the library its own functions and methods back."""
    for each in reversed(patches):
        each.on = False
        if not inspect.ismodule(each.owner):
            each.put_back()
    _replace_functions((each.traced, each.original) for each in patches if inspect.ismodule(each.owner))


def make_patch(integration: Integration, method: TracedMethod) -> Patch | None:
    """Put a traced method in the place of a class's own, or make what is to be put in a function's place.
    Where it is traced already, what gives back a copy of it that the owner has made, if it has.

    Raises:
        AttributeError: this version of the library has no such method.
    """
    module, _, qualname = method.path.partition(":")
    *outer, name = qualname.split(".")
    owner: Any = sys.modules[module]
    for each in outer:
        owner = getattr(owner, each)
    original = vars(owner).get(name, _INHERITED) if isinstance(owner, type) else getattr(owner, name)
    fn = getattr(owner, name)
    if hasattr(fn, "__llm_trace__") and (patched := getattr(fn, "__llm_trace_patch__", _DECORATED)).on:
        return Patch(owner, name, fn.__llm_trace__, fn, fn) if original is patched.traced is fn else None
    place = Patch(owner, name, original, fn, None)
    function = original.__func__ if isinstance(original, (staticmethod, classmethod)) else fn
    traced = _trace(function, integration, method, place)
    place.traced = type(original)(traced) if isinstance(original, (staticmethod, classmethod)) else traced
    if outer:
        setattr(owner, name, place.traced)
    return place


def _replace_functions(pairs: Iterable[tuple[Any, Any]]) -> None:
    """Put each second function in the place of the first, also where modules have imported it by name."""
    others = {id(function): (function, other) for function, other in pairs}
    if not others:
        return
    wanted = frozenset(others)
    for module in filter(inspect.ismodule, list(sys.modules.values())):
        names = vars(module)
        if wanted.isdisjoint(map(id, list(names.values()))):  # nearly all: a program has 7,000 modules
            continue
        for name, value in list(names.items()):
            if id(value) in wanted:
                setattr(module, name, others[id(value)][1])


def _trace(fn: Callable[..., Any], integration: Integration, method: TracedMethod, place: Patch) -> Any:
    spec = _build_spec(fn, integration, method)
    traced = wrap_function(fn, spec)

    def find_outer() -> CallSpan | None:
        """Return the call of the same library that the method is inside of."""
        outer = current_call()
        inside = outer is not None and outer.open and outer.spec.library == spec.library
        return outer if inside else None

    def is_recorded(outer: CallSpan | None) -> bool:
        return place.on and outer is None and method.recorded

    def tell(outer: CallSpan | None, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if place.on and outer is not None and outer.read_inner is not None:
            outer.read_inner(args[0] if args else None, spec.bind(*args, **kwargs), output)

    def call(*args: Any, **kwargs: Any) -> Any:
        if is_recorded(outer := find_outer()):
            return traced(*args, **kwargs)
        output = fn(*args, **kwargs)
        tell(outer, args, kwargs, output)
        return output

    async def call_async(*args: Any, **kwargs: Any) -> Any:
        if is_recorded(outer := find_outer()):
            return await traced(*args, **kwargs)
        output = await fn(*args, **kwargs)
        tell(outer, args, kwargs, output)
        return output

    wrapper: Any = wraps(fn)(call_async if spec.shape == "coroutine" else _pass_for(spec.shape, call))
    wrapper.__llm_trace__ = fn
    wrapper.__llm_trace_patch__ = place  # with the name before copied by wrappers of others that lie over it
    return wrapper


def _pass_for(shape: Shape, call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that `inspect` takes for one of a shape, as what it returns is."""
    flags = {"generator": inspect.CO_GENERATOR, "async_generator": inspect.CO_ASYNC_GENERATOR}
    return set_flag(call, flags[shape]) if shape in flags else call


def _build_spec(fn: Callable[..., Any], integration: Integration, method: TracedMethod) -> FunctionSpec:
    spec = build_spec(
        fn, {"name": method.name, "kind": method.kind, "output_reducer": integration.join_chunks}
    )
    spec.library = integration.library
    spec.asks_model = True
    spec.bind = _build_binder(fn, is_method="." in method.path.partition(":")[2])
    spec.read_request = _guard(integration.read_request, integration.library)
    spec.read_response = _guard(integration.read_response, integration.library)
    spec.replay = integration.replay
    return spec


def _build_binder(fn: Callable[..., Any], *, is_method: bool) -> Callable[..., dict[str, Any]]:
    """Return what gives the arguments that were given, by name: the defaults of an SDK's method are forty
    sentinels."""
    try:
        names = [
            p.name
            for p in inspect.signature(fn).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        names = []

    def bind(*args: Any, **kwargs: Any) -> dict[str, Any]:
        arguments: dict[str, Any] = dict(zip(names, args, strict=False))
        if len(args) > len(names):
            arguments["args"] = args[len(names) :]
        if is_method and names:
            arguments.pop(names[0], None)
        arguments.update(kwargs)
        _leave_out_keys(arguments)
        return {
            name: value
            for name, value in arguments.items()
            if name not in _HIDDEN and type(value).__name__ not in _SENTINELS
        }

    return bind


def _leave_out_keys(arguments: dict[str, Any]) -> None:
    """Leave out of lists of tools and servers what lets the provider in at a server of somebody's."""
    if isinstance(body := arguments.get("extra_body"), dict) and not _SERVERS.isdisjoint(body):
        arguments["extra_body"] = dict(body)
        _leave_out_keys(arguments["extra_body"])
    for name in _SERVERS & arguments.keys():
        if isinstance(servers := arguments[name], (list, tuple)):
            arguments[name] = [_without_keys(server) for server in servers]


def _without_keys(server: Any) -> Any:
    if not isinstance(server, dict) or _KEYS.isdisjoint(server):
        return server
    return {name: value for name, value in server.items() if name not in _KEYS}


def _guard(read: Callable[..., Mapping[str, Any]] | None, library: str) -> Any:
    """Return a reader of an integration that gives nothing where it fails, which is counted."""
    if read is None:
        return None

    def guarded(*args: Any) -> Mapping[str, Any]:
        try:
            fields = read(*args)
            return {
                n: _guard(value, library) if callable(value) else value for n, value in (fields or {}).items()
            }
        except Exception as exc:
            failures.note(f"the integration of {library}", exc)
            return {}

    return guarded
