"""Where Opik is and who we are there: OPIK_* variables, then the INI file that `opik configure` writes,
then the cloud's address.
"""

from __future__ import annotations

import base64
import configparser
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from llm_trace.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

SETTINGS = "OPIK_API_KEY, OPIK_WORKSPACE and OPIK_URL_OVERRIDE (or ~/.opik.config)"
CLOUD = "https://www.comet.com/opik/api/"
_PROJECT, _WORKSPACE = "Default Project", "default"


@dataclass(frozen=True)
class OpikSettings:
    """Whom to send to."""

    api_key: str | None
    """`None` for a self-hosted server without keys."""
    workspace: str
    project: str
    base: str

    @property
    def self_hosted(self) -> bool:
        """Whether the server keeps attachments itself; the cloud has a store and three steps for them."""
        return not (urlsplit(self.base).hostname or "").endswith("comet.com")


def read_opik_settings(parts: SplitResult, environment: Mapping[str, str] = os.environ) -> OpikSettings:
    """Return the settings for `opik://workspace/project`; what the address leaves out the configuration says.

    Raises:
        ConfigurationError: no key for the cloud, an address of a server without a scheme, or a configuration
            that cannot be read.
    """
    file = _read_file(environment)

    def read_setting(name: str) -> str | None:
        return environment.get(f"OPIK_{name.upper()}") or file.get(name) or None

    key = read_setting("api_key")
    base = read_setting("url_override") or _read_base_in_key(key) or CLOUD
    address = urlsplit(base)
    if address.scheme not in ("http", "https") or not address.netloc:
        raise ConfigurationError(f"OPIK_URL_OVERRIDE={base!r} is no address: write http://host:5173/api/")
    settings = OpikSettings(
        api_key=key,
        workspace=unquote(parts.netloc) or read_setting("workspace") or _WORKSPACE,
        project=unquote(parts.path.strip("/")) or read_setting("project_name") or _PROJECT,
        base=base.rstrip("/") + "/",
    )
    if key is None and not settings.self_hosted:
        raise ConfigurationError(
            f"Opik at {base} needs an API key: set OPIK_API_KEY, or OPIK_URL_OVERRIDE for a server of your "
            f"own"
        )
    return settings


def _read_file(environment: Mapping[str, str]) -> dict[str, str]:
    path = Path(environment.get("OPIK_CONFIG_PATH") or "~/.opik.config").expanduser()
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"OPIK_CONFIG_PATH={str(path)!r} cannot be read: {exc}") from exc
    return dict(parser["opik"]) if parser.has_section("opik") else {}


def _read_base_in_key(key: str | None) -> str | None:
    """Return the server's address where the key carries it, as `key*base64({"baseUrl": …})`."""
    _, _, attributes = (key or "").partition("*")
    if not attributes:
        return None
    try:
        content = json.loads(base64.b64decode(attributes + "=" * (-len(attributes) % 4)))
        return f"{str(content['baseUrl']).rstrip('/')}/opik/api/"
    except (ValueError, KeyError, TypeError) as exc:
        raise ConfigurationError(
            "OPIK_API_KEY ends in something after '*' that is no address: copy the key again"
        ) from exc
