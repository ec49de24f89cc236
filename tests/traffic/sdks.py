"""Ask a provider for a recorded exchange through its real client."""

from __future__ import annotations

import base64
import copy
import inspect
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import httpx
import pytest

from tests.traffic.exchanges import Exchange
from tests.traffic.server import Provider

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}  # fmt: skip
"""Environment without which boto3 asks the network who it is."""


class NotSupportedError(Exception):
    """The client has no method for an exchange's endpoint."""


@dataclass(frozen=True)
class Request:
    """One method of a client with its arguments."""

    method: Callable[..., Any]
    arguments: dict[str, Any]
    stream: bool = False
    inside: str | None = None
    """Name under which the answer holds the stream, as boto3's does."""

    def chunks(self) -> Iterator[Any]:
        """Yield the chunks of a streamed answer."""
        answer = self.method(**self.arguments)
        yield from answer if self.inside is None else answer[self.inside]

    def send(self) -> Any:
        """Return the client's answer: its object, or the list of a stream's chunks."""
        return list(self.chunks()) if self.stream else self.method(**self.arguments)


class Clients:
    """The providers' clients, each made when first needed and closed at the end of a `with` block.

    Args:
        provider: the server that they ask.
    """

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._made: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for client in self._made.values():
            if callable(close := getattr(client, "close", None)):
                close()
            for http_client in _find_http_clients(client):
                http_client.close()

    def get(self, name: str) -> Any:
        """Return a client by the name of its maker; skips the test where its package is not installed."""
        if name not in self._made:
            self._made[name] = _MAKERS[name](self._provider.url)
        return self._made[name]

    def request(self, exchange: Exchange) -> Request:
        """Return how an exchange is asked for, and let the server answer with it.

        Raises:
            NotSupportedError: the client does not know the endpoint.
        """
        self._provider.exchange = exchange
        shaped_by_openai = "/openai/" in exchange.endpoint and exchange.provider == "google"
        write = _openai if shaped_by_openai else _WRITERS[exchange.provider]
        return write(self, exchange, copy.deepcopy(exchange.request))


def _find_http_clients(client: Any, depth: int = 4) -> Iterator[httpx.Client]:
    """Yield the connections that a client holds: some have no way to close them."""
    for value in list(getattr(client, "__dict__", {}).values()):
        if isinstance(value, httpx.Client):
            yield value
        elif depth and type(value).__module__.partition(".")[0] in (
            "ollama",
            "mistralai",
            "cohere",
            "google",
        ):
            yield from _find_http_clients(value, depth - 1)


def _split(method: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments, those that the client does not know under `extra_body`."""
    known = inspect.signature(inspect.unwrap(method)).parameters
    extra = {name: value for name, value in arguments.items() if name not in known}
    kept = {name: value for name, value in arguments.items() if name in known}
    return {**kept, "extra_body": extra} if extra else kept


def _openai(clients: Clients, exchange: Exchange, asked: dict[str, Any]) -> Request:
    at = exchange.endpoint
    client = clients.get("azure" if "/deployments/" in at else "openai")
    places = {
        "/responses": client.responses, "/chat/completions": client.chat.completions,
        "/completions": client.completions, "/embeddings": client.embeddings,
    }  # fmt: skip
    place = next((found for name, found in places.items() if name in at), None)
    if place is None:
        raise NotSupportedError(at)
    arguments = _split(place.create, {"model": "unknown", **asked})
    return Request(place.create, arguments, bool(asked.get("stream")))


def _anthropic(clients: Clients, exchange: Exchange, asked: dict[str, Any]) -> Request:
    client = clients.get("anthropic")
    create = (client.beta if "beta=true" in exchange.endpoint else client).messages.create
    return Request(create, {**_split(create, asked), "timeout": 20}, bool(asked.get("stream")))


def _groq(clients: Clients, exchange: Exchange, asked: dict[str, Any]) -> Request:
    create = clients.get("groq").chat.completions.create
    return Request(create, _split(create, asked), bool(asked.get("stream")))


def _together(clients: Clients, exchange: Exchange, asked: dict[str, Any]) -> Request:
    client = clients.get("together")
    create = (client.chat if "/chat/" in exchange.endpoint else client).completions.create
    given = {name: value for name, value in asked.items() if value is not None}
    return Request(create, _split(create, given), bool(asked.get("stream")))


def _mistral(clients: Clients, exchange: Exchange, asked: dict[str, Any]) -> Request:
    client, stream = clients.get("mistral"), bool(asked.pop("stream", False))
    if "embed" in exchange.endpoint:
        return Request(client.embeddings.create, {"inputs": asked.pop("input"), **asked})
    return Request(client.chat.stream if stream else client.chat.complete, asked, stream)


def _cohere(clients: Clients, exchange: Exchange, asked: dict[str, Any]) -> Request:
    stream, name = bool(asked.pop("stream", False)), exchange.endpoint.split("/")[2]
    client = clients.get("cohere-v2" if exchange.endpoint.startswith("/v2") else "cohere-v1")
    method = getattr(client, f"{name}_stream" if stream else name, None)
    if method is None:
        raise NotSupportedError(exchange.endpoint)
    return Request(method, asked, stream)


def _ollama(clients: Clients, exchange: Exchange, asked: dict[str, Any]) -> Request:
    if not exchange.endpoint.startswith("/api"):
        return _openai(clients, exchange, asked)
    method = getattr(clients.get("ollama"), exchange.endpoint.rpartition("/")[2])
    given = {name: value for name, value in asked.items() if value is not None}
    return Request(method, given, bool(asked.get("stream")))


def _bedrock(clients: Clients, exchange: Exchange, asked: dict[str, Any]) -> Request:
    action = exchange.endpoint.rpartition("/")[2]
    if action not in _BEDROCK:
        raise NotSupportedError(exchange.endpoint)
    client, (name, inside) = clients.get("bedrock"), _BEDROCK[action]
    given = _bytes(asked) if "converse" in action else {"body": json.dumps(asked)}
    arguments = {"modelId": model_in(exchange) or "m", **given}
    return Request(getattr(client, name), arguments, inside is not None, inside)


_BEDROCK: dict[str, tuple[str, str | None]] = {
    "converse": ("converse", None), "converse-stream": ("converse_stream", "stream"),
    "invoke": ("invoke_model", None),
    "invoke-with-response-stream": ("invoke_model_with_response_stream", "body"),
}  # fmt: skip


def _bytes(value: Any) -> Any:
    """Return boto3's arguments, in which bytes are bytes and no base64."""
    if isinstance(value, list):
        return [_bytes(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    return {
        name: base64.b64decode(inner) if name == "bytes" and isinstance(inner, str) else _bytes(inner)
        for name, inner in value.items()
    }


def _google(clients: Clients, exchange: Exchange, asked: dict[str, Any]) -> Request:
    if "enerateContent" not in exchange.endpoint:
        raise NotSupportedError(exchange.endpoint)
    client = clients.get(exchange.provider)
    from google.genai import types

    contents = [types.Content.model_validate(entry) for entry in asked.pop("contents")]
    given = {"model": model_in(exchange), "contents": contents, "config": _google_config(types, asked)}
    stream = "stream" in exchange.endpoint
    method = client.models.generate_content_stream if stream else client.models.generate_content
    return Request(method, given, stream)


def _google_config(types: Any, asked: dict[str, Any]) -> Any:
    """Return what the client takes of the request beside its contents."""
    nested = asked.pop("generationConfig", None) or asked.pop("generation_config", None) or {}
    given = {_snake(name): value for name, value in {**nested, **asked}.items()}
    known = {name: value for name, value in given.items() if name in types.GenerateContentConfig.model_fields}
    for name in list(known):
        try:
            types.GenerateContentConfig.model_validate({name: known[name]})
        except (ValueError, AttributeError):  # an enum as a number
            del known[name]
    return types.GenerateContentConfig.model_validate(known)


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda found: "_" + found[0].lower(), name)


def model_in(exchange: Exchange) -> str | None:
    """Return the model that the address names, where one stands in it."""
    found = re.search(r"/models?/([^/]+?)(?::[a-zA-Z]+)?(?:[/?]|$)", exchange.url)
    return found[1].replace("%3A", ":") if found else None


_WRITERS: dict[str, Callable[[Clients, Exchange, dict[str, Any]], Request]] = {
    "openai": _openai, "azure-openai": _openai, "openrouter": _openai, "deepseek": _openai,
    "anthropic": _anthropic, "groq": _groq, "mistral": _mistral, "cohere": _cohere, "google": _google,
    "google-vertex": _google, "bedrock": _bedrock, "ollama": _ollama, "together": _together,
}  # fmt: skip


def _make_bedrock(url: str) -> Any:
    boto3 = pytest.importorskip("boto3")
    retries = pytest.importorskip("botocore.config").Config(retries={"max_attempts": 1, "mode": "standard"})
    return boto3.client("bedrock-runtime", endpoint_url=url, config=retries)


def _make_google(url: str, **login: Any) -> Any:
    genai = pytest.importorskip("google.genai")
    options = genai.types.HttpOptions(base_url=url, retry_options=genai.types.HttpRetryOptions(attempts=1))
    return genai.Client(http_options=options, **login)


def _make_vertex(url: str) -> Any:
    credentials = pytest.importorskip("google.auth.credentials")

    class Login(credentials.Credentials):  # type: ignore[misc, name-defined]
        def refresh(self, request: Any) -> None:
            self.token = "x"

    login = Login()
    login.refresh(None)
    return _make_google(url, vertexai=True, project="p", location="us-central1", credentials=login)


_MAKERS: dict[str, Callable[[str], Any]] = {
    "openai": lambda url: pytest.importorskip("openai").OpenAI(
        api_key="x", base_url=f"{url}/v1", max_retries=0
    ),
    "azure": lambda url: pytest.importorskip("openai").AzureOpenAI(
        api_key="x", api_version="2024-02-01", azure_endpoint=url, max_retries=0
    ),
    "anthropic": lambda url: pytest.importorskip("anthropic").Anthropic(
        api_key="x", base_url=url, max_retries=0
    ),
    "groq": lambda url: pytest.importorskip("groq").Groq(api_key="x", base_url=url, max_retries=0),
    "together": lambda url: pytest.importorskip("together").Together(api_key="x", base_url=f"{url}/v1"),
    "mistral": lambda url: pytest.importorskip("mistralai.client").Mistral(api_key="x", server_url=url),
    "cohere-v1": lambda url: pytest.importorskip("cohere").Client(api_key="x", base_url=url),
    "cohere-v2": lambda url: pytest.importorskip("cohere").ClientV2(api_key="x", base_url=url),
    "ollama": lambda url: pytest.importorskip("ollama").Client(host=url),
    "bedrock": _make_bedrock,
    "google": lambda url: _make_google(url, api_key="x"),
    "google-vertex": _make_vertex,
}
