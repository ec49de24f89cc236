"""The providers' real clients, pointed at the server of recordings."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import inspect
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NamedTuple, Self

import pytest

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true", "OPENAI_API_KEY": "x", "ANTHROPIC_API_KEY": "x",
}  # fmt: skip
"""Environment without which boto3 asks the network who it is, and others do not start."""


class NotSupportedError(Exception):
    """The client has no method for an exchange's endpoint, or none of that kind."""


class _Client(NamedTuple):
    """Where a provider's client is defined, and what it takes beside its key."""

    module: str
    sync_class: str
    async_class: str | None
    """None where one client has methods of both kinds."""
    address: str
    """Name of the argument that takes the server's address."""
    path: str = ""
    more: tuple[tuple[str, Any], ...] = ()


_ONCE = (("max_retries", 0),)
_CLIENTS = {
    "openai": _Client("openai", "OpenAI", "AsyncOpenAI", "base_url", "/v1", _ONCE),
    "azure": _Client(
        "openai", "AzureOpenAI", "AsyncAzureOpenAI", "azure_endpoint",
        more=(("api_version", "2024-02-01"), *_ONCE),
    ),
    "anthropic": _Client("anthropic", "Anthropic", "AsyncAnthropic", "base_url", more=_ONCE),
    "groq": _Client("groq", "Groq", "AsyncGroq", "base_url", more=_ONCE),
    "together": _Client("together", "Together", "AsyncTogether", "base_url", "/v1"),
    "mistral": _Client("mistralai.client", "Mistral", None, "server_url"),
    "cohere-v1": _Client("cohere", "Client", "AsyncClient", "base_url"),
    "cohere-v2": _Client("cohere", "ClientV2", "AsyncClientV2", "base_url"),
    "ollama": _Client("ollama", "Client", "AsyncClient", "host"),
}  # fmt: skip


class Clients:
    """Clients of a server, each made when first needed and closed at the end of a `with` block.

    Args:
        url: the server's address.
        asynchronous: make the clients that are awaited.
    """

    def __init__(self, url: str, *, asynchronous: bool = False) -> None:
        self.url = url
        self.asynchronous = asynchronous
        self._runner = asyncio.Runner() if asynchronous else None
        self._clients: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for client in self._clients.values():
            holders = [client, getattr(client, "aio", None) if self.asynchronous else None]
            for holder in (*holders, *_find_connections(client)):
                self._close(holder)
        if self._runner is not None:
            self._runner.close()

    def get(self, name: str) -> Any:
        """Return a client by its name; skips the test where its package is not installed."""
        if name not in self._clients:
            self._clients[name] = _MAKERS[name](self.url) if name in _MAKERS else self._make(name)
        return self._clients[name]

    def hold(self, model: Any) -> Any:
        """Return a framework's model, whose connections are closed at the end."""
        self._clients[f"model {id(model)}"] = model
        return model

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Return what a coroutine of an asynchronous client returns, awaited in the current context."""
        assert self._runner is not None
        return self._runner.run(work, context=contextvars.copy_context())

    def _make(self, name: str) -> Any:
        module, sync_class, async_class, address, path, more = _CLIENTS[name]
        client = sync_class if async_class is None or not self.asynchronous else async_class
        key = {} if name == "ollama" else {"api_key": "x"}
        arguments = {**key, address: self.url + path, **dict(more)}
        return getattr(pytest.importorskip(module), client)(**arguments)

    def _close(self, holder: Any) -> None:
        close = getattr(holder, "aclose", None) or getattr(holder, "close", None)
        if inspect.iscoroutinefunction(close):
            if self._runner is not None:
                self._runner.run(close())
        elif callable(close):
            close()


_OWNERS = ("openai", "anthropic", "groq", "together", "ollama", "mistralai", "cohere", "google")


def _find_connections(client: Any, depth: int = 5) -> Iterator[Any]:
    """Yield the connections that a client holds: some clients have no way to close them."""
    for value in list(getattr(client, "__dict__", {}).values()):
        owner = type(value).__module__.partition(".")[0]
        if any(kind.__name__ in ("Client", "AsyncClient") and kind.__module__.startswith("httpx")
               for kind in type(value).__mro__):  # fmt: skip
            yield value
        elif depth and owner in _OWNERS:
            yield from _find_connections(value, depth - 1)


def _make_bedrock(url: str) -> Any:
    boto3 = pytest.importorskip("boto3")
    retries = pytest.importorskip("botocore.config").Config(retries={"max_attempts": 1, "mode": "standard"})
    return boto3.client("bedrock-runtime", endpoint_url=url, config=retries)


def _make_google(url: str, **login: Any) -> Any:
    genai = pytest.importorskip("google.genai")
    options = genai.types.HttpOptions(base_url=url, retry_options=genai.types.HttpRetryOptions(attempts=1))
    return genai.Client(http_options=options, **login)


def _make_vertex(url: str) -> Any:
    credentials = importlib.import_module("google.auth.credentials")

    class Login(credentials.Credentials):  # type: ignore[misc, name-defined]
        def refresh(self, request: Any) -> None:
            self.token = "x"

    login = Login()
    login.refresh(None)
    return _make_google(url, vertexai=True, project="p", location="us-central1", credentials=login)


_MAKERS: dict[str, Callable[[str], Any]] = {
    "bedrock": _make_bedrock,
    "google": lambda url: _make_google(url, api_key="x"),
    "google-vertex": _make_vertex,
}
