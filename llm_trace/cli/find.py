"""An id as an argument: what is none, or not one, is a wrong use of the command."""

from typing import TYPE_CHECKING

import typer

from llm_trace.errors import ConfigurationError

if TYPE_CHECKING:
    from llm_trace.stores.duckdb import Store
    from llm_trace.stores.find import CallInTrace


def find_call_argument(store: "Store", identity: str) -> "CallInTrace":
    """Return the trace and the call that an argument names, as `llm_trace.stores.find.find_call` does.

    Raises:
        NotFoundError: there is none.
        typer.BadParameter: it is no id, or several begin so.
    """
    from llm_trace.stores.find import find_call

    try:
        return find_call(store, identity)
    except ConfigurationError as exc:
        raise typer.BadParameter(str(exc), param_hint="ID") from None
