"""HTTP to a platform: what passes is tried again, what does not is said with the setting that would help."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from llm_trace.errors import ConfigurationError
from llm_trace.imports.values import parse_json
from llm_trace.times import parse_retry_after

TRIES = 6
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_LONGEST_BACKOFF_S = 60.0
LONGEST_PAUSE_S = 600.0
"""A platform that asks for more than this is left alone: the next round may find it free."""
_TIMEOUT = httpx.Timeout(60.0, connect=5.0)


class PlatformRefusalError(ConfigurationError):
    """The platform understands who asks and does not do it: what is named is not there, or is malformed."""


def _read_beginning(data: bytes) -> str:
    return data[:80].decode("utf-8", "replace")


class _BusyError(Exception):
    """The platform may answer later."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"it answered {response.status_code}: {response.text[:200]}")
        self.wait_s = parse_retry_after(response.headers.get("Retry-After", ""))


def build_headers(**settings: str) -> dict[str, str]:
    """Return headers with what environment variables hold, without those that are not set.

    Args:
        settings: by the name of the variable, `Name: value` with `{}` for what it holds.
    """
    headers = {}
    for setting, template in settings.items():
        if value := os.environ.get(setting):
            name, _, text = template.partition(": ")
            headers[name] = text.format(value)
    return headers


class PlatformClient:
    """Asks one platform.

    Args:
        base_url: where it is.
        settings: the environment variables that hold its keys.
        headers: with the keys, empty where none is set.
        first_wait_s: before the first repetition; doubled each time.
    """

    def __init__(
        self,
        base_url: str,
        *,
        settings: Sequence[str],
        headers: Mapping[str, str],
        first_wait_s: float = 0.5,
    ) -> None:
        self.base_url = base_url
        self._settings = " and ".join(settings)
        self._has_keys = bool(headers)
        self._client = httpx.Client(base_url=base_url, headers=dict(headers), timeout=_TIMEOUT)
        self._backoff = wait_exponential_jitter(initial=first_wait_s, max=_LONGEST_BACKOFF_S)

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON at a path.

        Raises:
            ConfigurationError: it is not given; the message says what to change.
        """
        return self._read_json(self.ask("GET", path, params=params))

    def post(self, path: str, body: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Return what a path answers to a JSON body; raises as `get` does."""
        return self._read_json(self.ask("POST", path, json=body, params=params))

    def post_for_lines(self, path: str, body: Any) -> list[Any]:
        """Return the lines of JSON that a path answers to a JSON body; raises as `get` does."""
        response = self.ask("POST", path, json=body)
        return [self._parse(line, response) for line in response.content.splitlines() if line.strip()]

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Return an answer that is a success; raises as `get` does."""
        retrying = Retrying(
            stop=stop_after_attempt(TRIES),
            wait=self._wait,
            retry=retry_if_exception_type((httpx.TransportError, _BusyError)),
            reraise=True,
        )
        try:
            return retrying(self._ask_once, method, path, **request)
        except (httpx.HTTPError, httpx.InvalidURL, _BusyError) as exc:
            reason = str(exc) or type(exc).__name__
            raise ConfigurationError(
                f"{self.base_url} does not answer after {TRIES} tries: {reason}"
            ) from exc

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _ask_once(self, method: str, path: str, **request: Any) -> httpx.Response:
        response = self._client.request(method, path, **request)
        status = response.status_code
        if status in _AGAIN:
            raise self._build_busy(response)
        if status in (401, 403):
            raise ConfigurationError(self._describe_refusal(status))
        if not response.is_success:
            kind = PlatformRefusalError if 400 <= status < 500 else ConfigurationError
            raise kind(f"{self.base_url} answers {status} to {method} {path}: {response.text[:300]}")
        return response

    def _build_busy(self, response: httpx.Response) -> Exception:
        busy = _BusyError(response)
        if busy.wait_s is not None and busy.wait_s > LONGEST_PAUSE_S:
            return ConfigurationError(
                f"{self.base_url} answers {response.status_code} and asks not to come back for "
                f"{busy.wait_s:,.0f} s: attach again then, reading goes on where it was"
            )
        return busy

    def _describe_refusal(self, status: int) -> str:
        if not self._has_keys:
            return f"{self.base_url} answers {status}: set {self._settings}"
        return (
            f"{self.base_url} answers {status} to the key in {self._settings}: it may be expired, or of "
            f"another project; set a new one"
        )

    def _read_json(self, response: httpx.Response) -> Any:
        return self._parse(response.content, response) if response.content else None

    def _parse(self, data: bytes, response: httpx.Response) -> Any:
        try:
            return parse_json(data)
        except ValueError as exc:
            raise ConfigurationError(
                f"{self.base_url} answers {response.url.path} with no JSON ({_read_beginning(data)!r}): "
                f"is it the platform's own address?"
            ) from exc

    def _wait(self, state: RetryCallState) -> float:
        """Return the seconds to wait: as many as the platform asks for, else twice as many as before."""
        failure = state.outcome.exception() if state.outcome else None
        asked = failure.wait_s if isinstance(failure, _BusyError) else None
        return self._backoff(state) if asked is None else max(0.0, asked)
