"""Ask a provider for a recorded exchange through its real client."""

from __future__ import annotations

import base64
import copy
import inspect
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from tests.rig import frameworks
from tests.rig.clients import Clients, NotSupportedError
from tests.rig.exchanges import Exchange
from tests.rig.server import Provider

Way = Literal["client", "litellm", "langchain"]
"""What a program asks through: the provider's client, or a framework above it."""


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
        if self.stream:
            return list(self.chunks())
        answer = self.method(**self.arguments)
        return _read_body(answer) if self.inside is not None else answer

    async def chunks_async(self) -> AsyncIterator[Any]:
        """Yield the chunks of an asynchronous client's streamed answer."""
        answer = self.method(**self.arguments)
        async for chunk in await answer if inspect.isawaitable(answer) else answer:
            yield chunk

    async def send_async(self) -> Any:
        """Return an asynchronous client's answer."""
        if self.stream:
            return [chunk async for chunk in self.chunks_async()]
        return await self.method(**self.arguments)


def _read_body(answer: dict[str, Any]) -> Any:
    """Return the JSON of a body that boto3 leaves to its caller to read."""
    return json.loads(answer["body"].read())


def build_request(provider: Provider, clients: Clients, exchange: Exchange, way: Way = "client") -> Request:
    """Return how an exchange is asked for, and let the server answer with it.

    Raises:
        NotSupportedError: the client does not know the endpoint, or only waits for answers where it should
            be awaited.
    """
    provider.exchange = exchange
    body = copy.deepcopy(exchange.request)
    if way != "client":
        build = frameworks.build_litellm if way == "litellm" else frameworks.build_langchain
        return Request(*build(clients, exchange, body))
    shaped_by_openai = "/openai/" in exchange.endpoint and exchange.provider == "google"
    write = _build_openai if shaped_by_openai else _BUILDERS[exchange.provider]
    return write(clients, exchange, body)


def send(clients: Clients, request: Request) -> Any:
    """Return the answer to a request, awaited where the clients are asynchronous."""
    return clients.run(request.send_async()) if clients.asynchronous else request.send()


def _split_extra(method: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments, those that the client does not know under `extra_body`."""
    known = inspect.signature(inspect.unwrap(method)).parameters
    extra = {name: value for name, value in arguments.items() if name not in known}
    rest = {name: value for name, value in arguments.items() if name in known}
    return {**rest, "extra_body": extra} if extra else rest


def _build_openai(clients: Clients, exchange: Exchange, body: dict[str, Any]) -> Request:
    at = exchange.endpoint
    client = clients.get("azure" if "/deployments/" in at else "openai")
    resources = {
        "/responses": client.responses, "/chat/completions": client.chat.completions,
        "/completions": client.completions, "/embeddings": client.embeddings,
    }  # fmt: skip
    resource = next((resource for name, resource in resources.items() if name in at), None)
    if resource is None:
        raise NotSupportedError(at)
    arguments = _split_extra(resource.create, {"model": "unknown", **body})
    return Request(resource.create, arguments, bool(body.get("stream")))


def _build_anthropic(clients: Clients, exchange: Exchange, body: dict[str, Any]) -> Request:
    client = clients.get("anthropic")
    create = (client.beta if "beta=true" in exchange.endpoint else client).messages.create
    return Request(create, {**_split_extra(create, body), "timeout": 20}, bool(body.get("stream")))


def _build_groq(clients: Clients, exchange: Exchange, body: dict[str, Any]) -> Request:
    create = clients.get("groq").chat.completions.create
    return Request(create, _split_extra(create, body), bool(body.get("stream")))


def _build_together(clients: Clients, exchange: Exchange, body: dict[str, Any]) -> Request:
    client = clients.get("together")
    create = (client.chat if "/chat/" in exchange.endpoint else client).completions.create
    arguments = {name: value for name, value in body.items() if value is not None}
    return Request(create, _split_extra(create, arguments), bool(body.get("stream")))


def _build_mistral(clients: Clients, exchange: Exchange, body: dict[str, Any]) -> Request:
    client, stream = clients.get("mistral"), bool(body.pop("stream", False))
    suffix = "_async" if clients.asynchronous else ""
    if "embed" in exchange.endpoint:
        body["inputs"] = body.pop("input")
        return Request(getattr(client.embeddings, f"create{suffix}"), body)
    return Request(getattr(client.chat, ("stream" if stream else "complete") + suffix), body, stream)


def _build_cohere(clients: Clients, exchange: Exchange, body: dict[str, Any]) -> Request:
    stream, name = bool(body.pop("stream", False)), exchange.endpoint.split("/")[2]
    version_2 = exchange.endpoint.startswith("/v2")
    client = clients.get("cohere-v2" if version_2 else "cohere-v1")
    method = getattr(client, f"{name}_stream" if stream else name, None)
    if method is None:
        raise NotSupportedError(exchange.endpoint)
    return Request(method, {key: value for key, value in body.items() if value is not None}, stream)


def _build_ollama(clients: Clients, exchange: Exchange, body: dict[str, Any]) -> Request:
    if not exchange.endpoint.startswith("/api"):
        return _build_openai(clients, exchange, body)
    method = getattr(clients.get("ollama"), exchange.endpoint.rpartition("/")[2])
    arguments = {name: value for name, value in body.items() if value is not None}
    return Request(method, arguments, bool(body.get("stream")))


_BEDROCK: dict[str, tuple[str, str | None]] = {
    "converse": ("converse", None), "converse-stream": ("converse_stream", "stream"),
    "invoke": ("invoke_model", "body"),
    "invoke-with-response-stream": ("invoke_model_with_response_stream", "body"),
}  # fmt: skip


def _build_bedrock(clients: Clients, exchange: Exchange, body: dict[str, Any]) -> Request:
    action = exchange.endpoint.rpartition("/")[2]
    if action not in _BEDROCK or clients.asynchronous:
        raise NotSupportedError(exchange.endpoint)
    client, (name, inside) = clients.get("bedrock"), _BEDROCK[action]
    arguments = _decode_bytes(body) if "converse" in action else {"body": json.dumps(body)}
    arguments["modelId"] = exchange.url_model or "m"
    return Request(getattr(client, name), arguments, "stream" in action, inside)


def _decode_bytes(value: Any) -> Any:
    """Return boto3's arguments, in which bytes are bytes and no base64."""
    if isinstance(value, list):
        return [_decode_bytes(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    return {
        name: base64.b64decode(inner) if name == "bytes" and isinstance(inner, str) else _decode_bytes(inner)
        for name, inner in value.items()
    }


def _build_google(clients: Clients, exchange: Exchange, body: dict[str, Any]) -> Request:
    client = clients.get(exchange.provider)
    models = (client.aio if clients.asynchronous else client).models
    from google.genai import types

    if "batchEmbedContents" in exchange.endpoint:
        parts = [part["text"] for entry in body["requests"] for part in entry["content"]["parts"]]
        return Request(models.embed_content, {"model": exchange.url_model, "contents": parts})
    if "enerateContent" not in exchange.endpoint:
        raise NotSupportedError(exchange.endpoint)
    contents = [types.Content.model_validate(entry) for entry in body.pop("contents")]
    config = _build_google_config(types, body)
    stream = "stream" in exchange.endpoint
    method = models.generate_content_stream if stream else models.generate_content
    return Request(method, {"model": exchange.url_model, "contents": contents, "config": config}, stream)


def _build_google_config(types: Any, body: dict[str, Any]) -> Any:
    """Return what the client takes of the request beside its contents."""
    nested = body.pop("generationConfig", None) or body.pop("generation_config", None) or {}
    fields = {_to_snake_case(name): value for name, value in {**nested, **body}.items()}
    known = {name: fields[name] for name in fields if name in types.GenerateContentConfig.model_fields}
    for name in list(known):
        try:
            types.GenerateContentConfig.model_validate({name: known[name]})
        except (ValueError, AttributeError):  # an enum as a number
            del known[name]
    return types.GenerateContentConfig.model_validate(known)


def _to_snake_case(name: str) -> str:
    return re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), name)


_BUILDERS: dict[str, Callable[[Clients, Exchange, dict[str, Any]], Request]] = {
    "openai": _build_openai, "azure-openai": _build_openai, "openrouter": _build_openai,
    "deepseek": _build_openai, "anthropic": _build_anthropic, "groq": _build_groq, "mistral": _build_mistral,
    "cohere": _build_cohere, "google": _build_google, "google-vertex": _build_google,
    "bedrock": _build_bedrock, "ollama": _build_ollama, "together": _build_together,
}  # fmt: skip
