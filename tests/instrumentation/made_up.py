"""A made-up provider, and its integration, as integrations/README.md shows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llm_trace.instrumentation.integration import Integration, TracedMethod


def say(prompt: str) -> dict[str, Any]:
    """Answer as a provider's SDK does."""
    return {"text": prompt.upper(), "spent": [1, 2]}


class Client:
    """A client of the provider."""

    def stream(self, prompt: str) -> Iterator[str]:
        """Yield the answer in pieces."""
        yield from prompt.upper()


def read_request(client: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return what the request says beside its arguments."""
    return {"provider": "made-up"}


def read_response(response: Any) -> dict[str, Any]:
    """Return what the answer says in the provider's own words."""
    if not isinstance(response, dict):
        return {}
    input_tokens, output_tokens = response["spent"]
    return {"usage": {"input_tokens": input_tokens, "output_tokens": output_tokens}}


INTEGRATION = Integration(
    library="made-up",
    module=__name__,
    distribution="made-up",
    versions=">=1",
    tried="1.0",
    methods=(
        TracedMethod(f"{__name__}:say", "made_up.say"),
        TracedMethod(f"{__name__}:Client.stream", "made_up.stream"),
    ),
    read_request=read_request,
    read_response=read_response,
    join_chunks="".join,
)
