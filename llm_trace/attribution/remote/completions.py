"""A completions endpoint that gives log-probabilities of a prompt's tokens, as of vLLM and llama.cpp."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.remote.answers import Answer
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    import httpx


@dataclass(frozen=True)
class Completions:
    """Asks `POST {url}/completions`: a call answers a prompt, `score` gives a response's log-probabilities.

    Two dialects are understood: `echo` with `logprobs` (OpenAI's, and vLLM's), and vLLM's `prompt_logprobs`.
    """

    url: str
    """With the version, as `http://localhost:8000/v1`."""
    model: str
    api_key: str | None = None
    max_tokens: int = 256
    params: Mapping[str, Any] = field(default_factory=lambda: {"temperature": 0})
    """Further fields of the request."""
    prompt_logprobs: bool = False
    """Ask for vLLM's `prompt_logprobs` and not for `echo`."""

    @cached_property
    def _client(self) -> httpx.Client:
        import httpx

        headers = {} if self.api_key is None else {"Authorization": f"Bearer {self.api_key}"}
        limits = httpx.Limits(max_connections=None)  # how many at once is `Remote.concurrency`
        # see `Remote.timeout_s`
        client = httpx.Client(base_url=self.url.rstrip("/"), headers=headers, timeout=None, limits=limits)
        weakref.finalize(self, client.close)
        return client

    def __call__(self, prompt: str) -> Answer:
        """Return the model's answer to a text.

        Raises:
            httpx.HTTPError: as the caller sorts it out.
            AttributionError: the reply is not one of a completions endpoint.
        """
        reply = self._post({"prompt": _get_text(prompt), "max_tokens": self.max_tokens})
        return _answer(reply, str(_get_choice(reply).get("text") or ""))

    def score(self, prompt: str, response: str) -> Answer:
        """Return the response with its tokens' log-probabilities after the prompt, read as one text.

        A token that begins in the prompt and ends in the response counts with its part in that.
        """
        asked = {"prompt_logprobs": 0} if self.prompt_logprobs else {"echo": True, "logprobs": 0}
        reply = self._post({"prompt": _get_text(prompt) + response, "max_tokens": 1, **asked})
        choice = _get_choice(reply)
        if self.prompt_logprobs:
            read, length = _read_listed(choice.get("prompt_logprobs")), len(prompt) + len(response)
        else:
            read, length = _read_echoed(choice.get("logprobs")), len(choice.get("text") or "")
        return _answer(reply, response, _cut_part(read, length, len(prompt), len(prompt) + len(response)))

    def _post(self, fields: Mapping[str, Any]) -> Any:
        reply = self._client.post("/completions", json={"model": self.model, **self.params, **fields})
        reply.raise_for_status()
        return reply.json()


def _get_text(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    raise AttributionError(
        "a completions endpoint reads a text, not messages: render them with the model's chat template first"
    )


def _get_choice(reply: Any) -> Any:
    try:
        return reply["choices"][0]
    except (TypeError, KeyError, IndexError) as exc:
        raise AttributionError(f"the endpoint answered without choices: {str(reply)[:200]}") from exc


def _answer(reply: Any, text: str, tokens: tuple[tuple[str, float], ...] = ()) -> Answer:
    usage = reply.get("usage") or {}
    named = "/".join(str(part) for part in (reply.get("model"), reply.get("system_fingerprint")) if part)
    return Answer(text, usage.get("prompt_tokens"), usage.get("completion_tokens"), named or None, tokens)


def _read_echoed(logprobs: Any) -> list[tuple[str, float | None]]:
    """Return texts and log-probabilities of all tokens of OpenAI's form; the first has none."""
    if not logprobs:
        return []
    return list(zip(logprobs["tokens"], logprobs["token_logprobs"], strict=True))


def _read_listed(positions: Any) -> list[tuple[str, float | None]]:
    """Return the same of vLLM's form: at each position a mapping of ids, the prompt's own token first."""
    own = [next(iter(entry.values())) if entry else None for entry in positions or ()]
    return [("", None) if at is None else (at["decoded_token"], at["logprob"]) for at in own]


def _cut_part(
    read: list[tuple[str, float | None]], length: int, start: int, end: int
) -> tuple[tuple[str, float], ...]:
    """Return the tokens with a character between start and end, of a visible text of `length`.

    They are counted from the end: a first token may be a special one that the text does not show, or be shown
    without its text.
    """
    at, part = length - sum(len(text) for text, _ in read), []
    for text, logprob in read:
        inside = text[max(0, start - at) : max(0, end - at)]
        if inside and logprob is not None:
            part.append((inside, logprob))
        at += len(text)
    return tuple(part)
