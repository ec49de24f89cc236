"""Where the classes that a record names are defined now."""

from __future__ import annotations

import builtins
import sys
from typing import Any

Moved = dict[str, str]
"""Module a function was defined in when it was recorded -> module it is in now."""


def find_class(name: str, moved: Moved) -> Any:
    """Return the class of this name (`module:qualname`), `None` where there is none; import nothing.

    Looked for where its function is now, where it was, and then in all that is imported: a class that moved
    is found by its qualified name where one module only defines it.
    """
    module, _, qualname = name.rpartition(":")
    if not module:
        return _find_inside(builtins, qualname)
    if module not in moved and (cls := _find_inside(sys.modules.get(module), qualname)) is not None:
        return cls
    for place in dict.fromkeys((moved.get(module), *moved.values(), module)):
        if place and (cls := _find_inside(sys.modules.get(place), qualname)) is not None:
            return cls
    if "<locals>" in qualname:
        return None
    homes = [_find_inside(home, qualname) for home in list(sys.modules.values())]
    classes = {id(cls): cls for cls in homes if isinstance(cls, type) and _is_home(cls)}
    return next(iter(classes.values())) if len(classes) == 1 else None


def has_moved(name: str) -> bool:
    """Return whether a class is not where it was recorded."""
    module, _, qualname = name.rpartition(":")
    return module == "__main__" or _find_inside(sys.modules.get(module), qualname) is None


def _is_home(cls: type) -> bool:
    return _find_inside(sys.modules.get(cls.__module__), cls.__qualname__) is cls


def _find_inside(module: Any, qualname: str) -> Any:
    """Return what stands in a module under a name; its `__getattr__`, which may import, is not asked."""
    inner: Any = module
    for step in qualname.split("."):
        inner = getattr(inner, "__dict__", {}).get(step)
    return inner
