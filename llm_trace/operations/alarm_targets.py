"""Where alarms go: a webhook, a command (no shell), or what apprise reaches."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from llm_trace.errors import ConfigurationError, LLMTraceError, MissingExtraError
from llm_trace.rendering.leaves import convert_leaves, encode_text, spell_float

if TYPE_CHECKING:
    import httpx

TargetKind = Literal["webhook", "command", "apprise"]
COMMAND = "command:"
LONGEST = 10_000
"""Characters of an alarm's text that a command gets in its environment; its input has all."""
TRIES = 3
"""Of a webhook, where it does not answer, or answers with 408, 429 or 5xx."""
_AGAIN = frozenset((408, 425, 429, 500, 502, 503, 504, 529))


class UndeliveredError(LLMTraceError):
    """A target did not take an alarm; the message says why."""


@dataclass(frozen=True)
class AlarmTarget:
    """One place that alarms go to."""

    address: str
    """As it was given: a secret where it is a URL."""
    kind: TargetKind
    name: str
    """What may be shown and logged: without path, password or arguments, but apart from other targets."""


def read_target(address: str) -> AlarmTarget:
    """Return the target that `https://…`, `command:PROGRAM ARGUMENTS` or a URL of apprise means.

    Raises:
        ConfigurationError: it means none, or its program is not there.
    """
    mark = hashlib.blake2b(address.encode(), digest_size=4).hexdigest()
    if address.startswith(COMMAND):
        words = _split_command(address.removeprefix(COMMAND))
        return AlarmTarget(address, "command", f"{COMMAND}{Path(words[0]).name}#{mark}")
    parts = _split_url(address)
    if parts is None:
        raise ConfigurationError(
            f"{address!r} is no target of alarms: give https://HOST/PATH, {COMMAND}PROGRAM ARGUMENTS, or a "
            "URL of apprise such as mailto://…"
        )
    if parts[0] not in ("http", "https"):
        return AlarmTarget(address, "apprise", f"{parts[0]}#{mark}")
    return AlarmTarget(address, "webhook", f"{parts[0]}://{parts[1]}#{mark}")


def _split_url(address: str) -> tuple[str, str] | None:
    """Return scheme and host; of a webhook there must be a host."""
    scheme, colon, _ = address.partition("://")
    try:
        host = urlsplit(address).hostname or ""
    except ValueError:
        return None
    valid = bool(colon) and scheme.replace("+", "").replace("-", "").isalnum()
    return (scheme, host) if valid and (host or scheme not in ("http", "https")) else None


def _split_command(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as exc:
        raise ConfigurationError(f"the command {text!r} of an alarm cannot be read: {exc}") from exc
    if not words or shutil.which(words[0]) is None:
        raise ConfigurationError(f"there is no program {words[0] if words else ''!r} for {COMMAND}{text}")
    return words


def send_to_target(target: AlarmTarget, message: dict[str, Any], timeout: float) -> None:
    """Hand a message (`text`, `subject` and more, JSON values) to a target.

    Args:
        target: where.
        message: what.
        timeout: seconds for one try; a command is killed after them.

    Raises:
        UndeliveredError: it was not taken.
        MissingExtraError: apprise is not installed.
    """
    plain = convert_leaves(message, _fit_leaf)
    {"webhook": _post, "command": _run, "apprise": _notify}[target.kind](target.address, plain, timeout)


def _fit_leaf(value: Any) -> Any:
    """Return a text without half characters, and a number that JSON has."""
    return encode_text(value) if isinstance(value, str) else spell_float(value)


def _post(address: str, message: dict[str, Any], timeout: float) -> None:
    """Send the message as JSON; the answer's body is not read."""
    import httpx
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

    retrying = Retrying(
        stop=stop_after_attempt(TRIES),
        wait=wait_exponential_jitter(initial=0.2, max=5),
        retry=retry_if_exception_type((httpx.TransportError, _BusyError)),
        reraise=True,
    )
    try:
        with httpx.Client(timeout=timeout, follow_redirects=False) as client:
            retrying(_post_once, client, address, message)
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise UndeliveredError(f"{type(exc).__name__} after {TRIES} tries") from exc


class _BusyError(UndeliveredError):
    """The server may take it later."""


def _post_once(client: httpx.Client, address: str, message: dict[str, Any]) -> None:
    with client.stream("POST", address, json=message) as response:
        if response.status_code in _AGAIN:
            raise _BusyError(f"it answered {response.status_code} {TRIES} times")
        if not response.is_success:
            raise UndeliveredError(f"it answered {response.status_code}")


def _run(address: str, message: dict[str, Any], timeout: float) -> None:
    """Run a command with the message as JSON on its standard input and the text in `LLM_TRACE_ALARM`."""
    words = _split_command(address.removeprefix(COMMAND))
    text = str(message.get("text", "")).replace("\0", "")[:LONGEST]
    with tempfile.TemporaryFile() as errors:  # a pipe would wait for what the command leaves running
        try:
            ended = subprocess.run(
                words, input=json.dumps(message).encode(), timeout=timeout, check=False,
                stdout=subprocess.DEVNULL, stderr=errors, env={**os.environ, "LLM_TRACE_ALARM": text},
            )  # fmt: skip
        except subprocess.TimeoutExpired as exc:
            raise UndeliveredError(f"it ran longer than {timeout:g} s and was ended") from exc
        except OSError as exc:
            raise UndeliveredError(f"it cannot be run: {exc}") from exc
        if ended.returncode:
            errors.seek(0)
            words_of_it = errors.read().decode(errors="replace").strip()[-200:]
            raise UndeliveredError(f"it left with {ended.returncode}: {words_of_it}".rstrip(": "))


def _notify(address: str, message: dict[str, Any], timeout: float) -> None:  # noqa: ARG001
    """Send the text by apprise, which has time-outs of its own."""
    try:
        import apprise
    except ModuleNotFoundError as exc:
        raise MissingExtraError(
            f"alarms to {address.partition('://')[0]}:// need apprise: pip install 'llm-trace[alerts]'"
        ) from exc
    notifier = apprise.Apprise()
    if not notifier.add(address):
        raise UndeliveredError("apprise does not know such an address")
    if not notifier.notify(title=f"llm-trace: {message.get('subject', '')}", body=str(message.get("text"))):
        raise UndeliveredError("apprise could not deliver it")
