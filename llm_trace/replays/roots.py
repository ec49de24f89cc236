"""The functions that a run began with, and their recorded arguments."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from llm_trace.capture.inspection import get_function_name
from llm_trace.capture.wrappers import trace
from llm_trace.errors import ReplayError
from llm_trace.replays.revive import extract_part, rebuild

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.capture.prompts import Rendered
    from llm_trace.record import Call
    from llm_trace.replays.tape import Taped

Function = Callable[..., Any]


def find_functions(
    roots: Sequence[Taped], named: str | Function | Iterable[str | Function]
) -> dict[str, Function]:
    """Return the function to call for each root, by `span_id`.

    Args:
        named: functions, or `module:qualname` to import them from: nothing else is imported.

    Raises:
        ReplayError: none was named, one is not where it was named, or a root has none.
    """
    choices = [named] if isinstance(named, str) or callable(named) else list(named)
    functions = [import_function(item, roots) if isinstance(item, str) else item for item in choices]
    chosen = {root.span_id: _choose_function(root, functions) for root in roots}
    missing = [root for root in roots if chosen[root.span_id] is None]
    if len(functions) == 1 and len({root.name for root in roots}) == 1:
        return {root.span_id: functions[0] for root in roots}  # it was renamed
    if missing:
        raise ReplayError(_refuse_unnamed(missing, choices))
    return {span: ensure_traced(fn) for span, fn in chosen.items() if fn is not None}


def choose_root(around: Sequence[Call], named: str | Function | Iterable[str | Function]) -> Call:
    """Return the outermost of some calls whose function was named; the outermost of all where none was.

    Args:
        around: calls inside each other, from the outermost inwards.
        named: as for `find_functions`.
    """
    choices = [named] if isinstance(named, str) or callable(named) else list(named)
    names = {c.partition(":")[2] if isinstance(c, str) else get_function_name(c) for c in choices}
    functions = ((call, (call.code.function if call.code else "").partition(":")[2]) for call in around)
    return next(
        (call for call, name in functions if {name.rpartition("<locals>.")[2], call.name} & names), around[0]
    )


def ensure_traced(fn: Function) -> Function:
    """Return the function, decorated where it is not."""
    return fn if hasattr(fn, "__llm_trace__") else trace(fn)


def _choose_function(root: Taped, functions: Sequence[Function]) -> Function | None:
    """Return the function whose qualified name the root had, rather one of the same module."""
    qualname = (root.function or "").partition(":")[2] or root.name
    alike = [
        fn for fn in functions if get_function_name(fn) in (qualname.rpartition("<locals>.")[2], root.name)
    ]
    same = [fn for fn in alike if fn.__module__ == root.module]
    return next(iter(same or alike), None)


def _refuse_unnamed(missing: Sequence[Taped], choices: Sequence[object]) -> str:
    counts = Counter((root.function or root.name, root.place) for root in missing)
    names = ", ".join(
        f"{name}{f' at {place}' if place else ''} ({count} calls)"
        for (name, place), count in counts.most_common(5)
    )
    example = next(iter(counts))[0].replace("__main__", "your_module")
    return (
        f"the run began with {names}, and "
        f"{'none of the functions given is that' if choices else 'functions are only called when named'}: "
        f"pass functions={example!r} (on the command line --function {example}), or the function itself"
    )


def import_function(name: str, roots: Sequence[Taped] = ()) -> Function:
    """Return a function by `module:qualname`.

    Raises:
        ReplayError: there is no such module or function.
    """
    module, colon, qualname = name.partition(":")
    then = next(
        (f"; it was at {r.place} when it was recorded" for r in roots if r.place and r.function == name), ""
    )
    if not colon or not qualname:
        raise ReplayError(f"function {name!r} is no module:function; write it as app:answer")
    try:
        target: Any = importlib.import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name is None or not (module == exc.name or module.startswith(exc.name + ".")):
            raise
        raise ReplayError(
            f"there is no module {module!r} on the path {sys.path[:3]}{then}: start in the folder that "
            f"holds it, or name its new place"
        ) from exc
    for step in qualname.split("."):
        target = getattr(target, step, None)
    if not callable(target):
        raise ReplayError(
            f"{module!r} has no function {qualname!r}{then}: if it moved, name its new place as "
            f"module:function"
        )
    return target  # type: ignore[no-any-return]


def call_of(
    root: Taped, fn: Function, wanted: Mapping[str, Any], rendered: Sequence[Rendered] = ()
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments that a root was called with.

    Args:
        given: arguments by name that take the place of recorded ones.
        rendered: the prompts that its arguments may be.

    Raises:
        ReplayError: some cannot be rebuilt, each named; or the function does not take them any more.
    """
    if not isinstance(root.input, dict):
        raise ReplayError(f"{root.name} ({root.span_id}): its input was not kept")
    values, lost = dict(wanted), []
    for name in [name for name in root.input if name not in wanted]:
        try:
            values[name] = _build_argument(name, root, fn, rendered)
        except ReplayError as exc:
            lost.append(f"{name!r} ({exc})")
    if lost:
        raise ReplayError(
            f"{root.name} ({root.span_id}): the record does not hold {', '.join(lost)} well enough to call "
            f"it again; "
            "pass overrides={'arguments': {name: value}}"
        )
    return _bound(root, fn, values)


def _build_argument(name: str, root: Taped, fn: Function, rendered: Sequence[Rendered]) -> Any:
    value, types = extract_part(root.input, root.rebuild.get("input", {}), (name,))
    if root.rebuild.get("key") and "[redacted" in json.dumps(value):
        raise ReplayError("it was masked")
    return rebuild(value, types, {root.module: fn.__module__} if root.module else {}, rendered)


def _bound(root: Taped, fn: Function, values: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return positional and named arguments as the function takes them now."""
    signature = inspect.signature(fn)
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    left = dict(values)
    for p in signature.parameters.values():
        if p.name not in left:
            continue
        value = left.pop(p.name)
        if p.kind is p.VAR_POSITIONAL:
            args += value
        elif p.kind is p.VAR_KEYWORD:
            kwargs |= value
        elif p.kind is p.POSITIONAL_ONLY or (
            p.kind is p.POSITIONAL_OR_KEYWORD and len(args) == len(values) - len(left) - 1
        ):
            args.append(value)
        else:
            kwargs[p.name] = value
    try:
        signature.bind(*args, **kwargs, **left)
    except TypeError as exc:
        code = getattr(inspect.unwrap(fn), "__code__", None)
        where = f" at {code.co_filename}:{code.co_firstlineno}" if code else ""
        raise ReplayError(
            f"{get_function_name(fn)}{where} does not take what it was called with in {root.span_id} "
            f"({', '.join(values)}): {exc}; "
            f"its signature is {signature} now: give the parameter a default, or pass another function for "
            f"it: "
            f"overrides={{'code': {{{root.name!r}: function}}}}"
        ) from exc
    return tuple(args), kwargs | left
