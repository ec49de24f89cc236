"""Marks on the calls that an attribution makes itself, so that none is taken for the program's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llm_trace.capture.context import SCOPE_KEY, Scope, attach_values, variable
from llm_trace.record import ATTRIBUTION_TAG


@contextmanager
def tag_own_calls() -> Iterator[None]:
    """Tag every call that is recorded inside the block; session, user and metadata stay as they are."""
    outer = variable.get().get(SCOPE_KEY)
    outer = outer if isinstance(outer, Scope) else Scope()
    tags = tuple(dict.fromkeys((*outer.tags, ATTRIBUTION_TAG)))
    with attach_values(**{SCOPE_KEY: Scope(outer.session, outer.user, tags, outer.metadata)}):
        yield
