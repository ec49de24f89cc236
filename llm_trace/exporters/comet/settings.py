"""Where Comet is and who we are there, as comet_ml reads it.

`import comet_ml` (and with it `comet_ml.config`) hooks into the import of other libraries, replaces
`sys.excepthook` and prints. So it is imported by a process of its own, which says what it read. That takes
about a second, and is left out where the environment says it all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from llm_trace.errors import ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    from urllib.parse import SplitResult

SETTINGS = "COMET_API_KEY, COMET_WORKSPACE and COMET_PROJECT_NAME (or ~/.comet.config)"
DEFAULT_PROJECT = "llm-general"
"""Where comet_llm logs to when no project is named."""

_READ = """
import json, sys
from comet_ml import config
told = config.get_config()
key = config.get_api_key(None, told)
told = config.get_config()
values = {"api_key": key, "workspace": told["comet.workspace"], "project": told["comet.project_name"]}
values["url"] = config.get_comet_url_override(told)
sys.stdout.write("\\n" + json.dumps(values))
"""
_INSTRUCTION = "_SECRET_-"
"""Begins a key that says where comet_ml finds the key."""
_QUIET = {"COMET_ERROR_TRACKING_ENABLE": "0", "COMET_LOGGING_CONSOLE": "CRITICAL"}


@dataclass(frozen=True)
class CometSettings:
    """Whom to send to."""

    api_key: str
    workspace: str | None
    """`None`: the key's own default workspace."""
    project: str
    runs_project: str
    """Runs are no LLM experiments, and a project of the platform holds one kind only."""
    base: str


def read_comet_settings(parts: SplitResult) -> CometSettings:
    """Return the settings for `comet://workspace/project?runs=project`; what the address leaves out
    comet_ml's configuration says.

    Raises:
        MissingExtraError: comet_ml is not installed.
        ConfigurationError: no key, or an address of a server without a scheme.
    """
    workspace, project = unquote(parts.netloc), unquote(parts.path.strip("/"))
    configured = (_read_environment() if workspace and project else None) or _read_configured()
    if not configured["api_key"]:
        raise ConfigurationError(f"Comet needs an API key: set COMET_API_KEY, or api_key in {_read_file()}")
    base = urlsplit(configured["url"])
    if base.scheme not in ("http", "https") or not base.netloc:
        raise ConfigurationError(
            f"COMET_URL_OVERRIDE={configured['url']!r} is no address: write https://host/clientlib/"
        )
    project = project or configured["project"] or DEFAULT_PROJECT
    return CometSettings(
        api_key=configured["api_key"],
        workspace=workspace or configured["workspace"],
        project=project,
        runs_project=parse_qs(parts.query).get("runs", [f"{project}-runs"])[0],
        base=f"{base.scheme}://{base.netloc}",
    )


def _read_file() -> str:
    return os.environ.get("COMET_CONFIG") or "~/.comet.config"


def _read_environment() -> dict[str, Any] | None:
    """Return key and address where the environment has both: it comes first for comet_ml."""
    key, url = os.environ.get("COMET_API_KEY"), os.environ.get("COMET_URL_OVERRIDE")
    if not key or not url or key.startswith(_INSTRUCTION):
        return None
    return {"api_key": key, "url": url}


def _read_configured() -> dict[str, Any]:
    import importlib.util

    if importlib.util.find_spec("comet_ml") is None:
        raise MissingExtraError("'comet_ml' is not installed: pip install 'llm-trace[comet]'")
    done = subprocess.run(
        [sys.executable, "-c", _READ], env=os.environ | _QUIET, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise ConfigurationError(f"comet_ml cannot read its configuration: {reason[0]}; check {_read_file()}")
    configured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return configured
