"""Bind the arguments of a call by name, fast: each signature is compiled once per traced function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

Binder = Callable[..., dict[str, Any]]


def build_binder(fn: Callable[..., Any], *, is_method: bool = False) -> Binder:
    """Return a function that takes what `fn` takes and returns the arguments by name, defaults included.

    `*args` and `**kwargs` appear under their own names where they are not empty. The bound object of a method
    is left out. A callable without a signature gives `args` and `kwargs`. The binder raises `TypeError` where
    `fn` would.
    """
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):
        return _make_unnamed
    if not all(p.name.isidentifier() for p in parameters):
        return _make_unnamed
    hidden = parameters[0].name if is_method and parameters else None
    defaults: dict[str, Any] = {}
    source = _write_signature(parameters, defaults)
    plain = [
        p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name != hidden
    ]
    variable = [
        p.name for p in parameters if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name != hidden
    ]
    body = "{" + ", ".join(f"{n!r}: {n}" for n in plain) + "}"
    for name in variable:
        body = f"({body} | {{{name!r}: {name}}} if {name} else {body})"
    namespace: dict[str, Any] = {"__builtins__": {}, "_defaults_": defaults}
    exec(
        f"def bind({source}):\n    return {body}", namespace
    )  # identifiers only: nothing of the user's is evaluated
    bind: Binder = namespace["bind"]
    return bind


def _write_signature(parameters: list[inspect.Parameter], defaults: dict[str, Any]) -> str:
    """Return the source of a parameter list whose defaults are looked up in `_defaults_`, and fill that."""
    parts: list[str] = []
    kinds = [p.kind for p in parameters]
    for position, p in enumerate(parameters):
        if p.kind is p.VAR_POSITIONAL:
            parts.append(f"*{p.name}")
            continue
        if p.kind is p.VAR_KEYWORD:
            parts.append(f"**{p.name}")
            continue
        if p.kind is p.KEYWORD_ONLY and not {p.VAR_POSITIONAL, p.KEYWORD_ONLY} & set(kinds[:position]):
            parts.append("*")
        if p.default is p.empty:
            parts.append(p.name)
        else:
            defaults[p.name] = p.default
            parts.append(f"{p.name}=_defaults_[{p.name!r}]")
        if p.kind is p.POSITIONAL_ONLY and kinds[position + 1 : position + 2] != [p.POSITIONAL_ONLY]:
            parts.append("/")
    return ", ".join(parts)


def _make_unnamed(*args: Any, **kwargs: Any) -> dict[str, Any]:
    return {"args": args, "kwargs": kwargs} if kwargs else {"args": args}
