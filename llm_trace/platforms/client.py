"""HTTP to a platform: what passes is tried again, what does not is said with the setting that would help."""

from __future__ import annotations

import os
from typing import Any

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from llm_trace.errors import ConfigurationError
from llm_trace.times import parse_retry_after

TRIES = 6
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_LONGEST_WAIT_S = 60.0
_TIMEOUT = httpx.Timeout(60.0, connect=5.0)


class _BusyError(Exception):
    """The platform may answer later."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"it answered {response.status_code} {TRIES} times: {response.text[:200]}")
        self.wait_s = parse_retry_after(response.headers.get("Retry-After", ""))


class PlatformClient:
    """Asks one platform.

    Args:
        base_url: where it is.
        key_setting: the environment variable that holds its key, where it wants one.
        first_wait_s: before the first repetition; doubled each time.
    """

    def __init__(self, base_url: str, *, key_setting: str, first_wait_s: float = 0.5) -> None:
        self.base_url = base_url
        self._key_setting = key_setting
        key = os.environ.get(key_setting)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(base_url=base_url, headers=headers, timeout=_TIMEOUT)
        self._backoff = wait_exponential_jitter(initial=first_wait_s, max=_LONGEST_WAIT_S)

    def get(self, path: str, params: dict[str, Any] | None = None) -> Any:
        """Return the JSON at a path.

        Raises:
            ConfigurationError: it is not given; the message says what to change.
        """
        return self.ask("GET", path, params=params)

    def post(self, path: str, body: Any, params: dict[str, Any] | None = None) -> Any:
        """Return what a path answers to a JSON body; raises as `get` does."""
        return self.ask("POST", path, json=body, params=params)

    def ask(self, method: str, path: str, **request: Any) -> Any:
        """Return the JSON of an answer; raises as `get` does."""
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

    def _ask_once(self, method: str, path: str, **request: Any) -> Any:
        response = self._client.request(method, path, **request)
        status = response.status_code
        if status in _AGAIN:
            raise _BusyError(response)
        if status in (401, 403):
            raise ConfigurationError(f"{self.base_url} answers {status}: set {self._key_setting}")
        if not response.is_success:
            raise ConfigurationError(
                f"{self.base_url} answers {status} to {method} {path}: {response.text[:300]}"
            )
        try:
            return response.json() if response.content else None
        except ValueError as exc:
            raise ConfigurationError(
                f"{self.base_url} answers {path} with no JSON ({response.text[:80]!r}): is it the platform's "
                f"own address?"
            ) from exc

    def _wait(self, state: RetryCallState) -> float:
        """Return the seconds to wait: as many as the platform asks for, else twice as many as before."""
        failure = state.outcome.exception() if state.outcome else None
        asked = failure.wait_s if isinstance(failure, _BusyError) else None
        return self._backoff(state) if asked is None else min(max(0.0, asked), _LONGEST_WAIT_S)
