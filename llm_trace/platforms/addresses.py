"""Which platform an address names: `phoenix://host:6006/project`, `langfuses://cloud.langfuse.com/project`."""

from __future__ import annotations

import importlib
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from llm_trace.errors import ConfigurationError
from llm_trace.platforms import Platform

SCHEMES = {
    "phoenix": "PhoenixPlatform",
    "mlflow": "MlflowPlatform",
    "langfuse": "LangfusePlatform",
    "opik": "OpikPlatform",
    "langsmith": "LangsmithPlatform",
}
"""Each is the name of a module, with that of the class in it, which is made of an address."""


class PlatformAddress(NamedTuple):
    """Where a platform is, and which of its projects is meant."""

    scheme: str
    base_url: str
    project: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.base_url.partition('://')[2]}/{self.project}"


def parse_platform_address(text: str) -> PlatformAddress:
    """Return what an address says; an `s` more, as in `phoenixs://`, is over TLS.

    Raises:
        ConfigurationError: it is no address of a platform that is known.
    """
    parts = urlsplit(text)
    scheme = parts.scheme.removesuffix("s") if parts.scheme.removesuffix("s") in SCHEMES else parts.scheme
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://host:port/project" for name in SCHEMES)
        raise ConfigurationError(f"{text!r} is no address of a platform: give one of {known}")
    if parts.username or parts.password:
        raise ConfigurationError(
            "keys do not belong into an address, which is shown and logged: set them in the environment"
        )
    *before, project = unquote(parts.path.strip("/")).split("/")
    if not parts.hostname or not project:
        raise ConfigurationError(f"{text!r} must name host and project: {scheme}://host:port/project")
    path = "".join(f"/{part}" for part in before)
    return PlatformAddress(scheme, f"http{'s' * (parts.scheme != scheme)}://{parts.netloc}{path}", project)


def connect_platform(address: PlatformAddress) -> Platform:
    """Return the platform that an address names; nothing is asked yet."""
    module = importlib.import_module(f"llm_trace.platforms.{address.scheme}")
    platform: Platform = getattr(module, SCHEMES[address.scheme])(address)
    return platform
