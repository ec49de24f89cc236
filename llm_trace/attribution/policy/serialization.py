"""An attribution policy as JSON for another process; rules stay where the calls end."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, fields
from typing import Any

from llm_trace.attribution.core.value import Budget
from llm_trace.attribution.policy.policy import AttributionPolicy
from llm_trace.errors import AttributionError

_DECIDED = ("when", "sample", "mode")
"""Settings that choose calls: the process in which a call ends has applied them."""


def encode(policy: AttributionPolicy) -> bytes:
    """Return the policy as JSON.

    Raises:
        AttributionError: a setting cannot leave this process: a model or tokenizer object, a function.
    """
    names = [f.name for f in fields(policy) if f.name not in _DECIDED]
    settings = {name: _encode_setting(name, getattr(policy, name)) for name in names}
    return json.dumps({**settings, "config_hash": policy.config_hash}, sort_keys=True).encode()


def decode(data: bytes) -> tuple[AttributionPolicy, str]:
    """Return a policy that takes every call, and the hash of the policy that it was made from."""
    settings = json.loads(data)
    config_hash = settings.pop("config_hash")
    return AttributionPolicy(
        **{name: _decode_setting(value) for name, value in settings.items()}
    ), config_hash


def hash_policy(data: bytes) -> str:
    """Return the name under which an encoded policy is kept."""
    return hashlib.sha256(data).hexdigest()[:16]


def _encode_setting(name: str, value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Budget):
        return {"is": "budget", "of": asdict(value)}
    if isinstance(value, re.Pattern):
        return {"is": "pattern", "of": [value.pattern, value.flags]}
    if isinstance(value, list | tuple):
        return {"is": type(value).__name__, "of": [_encode_setting(name, item) for item in value]}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"is": "dict", "of": {key: _encode_setting(name, item) for key, item in value.items()}}
    raise AttributionError(
        f"{name}={value!r} cannot leave this process: in mode='background' give a name or a path "
        "(packages register theirs by entry points), or take mode='inline'"
    )


def _decode_setting(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    kind, inner = value["is"], value["of"]
    if kind == "budget":
        return Budget(**inner)
    if kind == "pattern":
        return re.compile(*inner)
    if kind == "dict":
        return {key: _decode_setting(item) for key, item in inner.items()}
    items = [_decode_setting(item) for item in inner]
    return tuple(items) if kind == "tuple" else items
