"""Which models this machine has that can explain a call, without loading or asking for any."""

from __future__ import annotations

import functools
import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from llm_trace.plugin_points import list_entry_points

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST = 20
"""Models from Hugging Face's cache."""


def check_libraries() -> str | None:
    """Return what is to be installed before a model can be opened; `None` where all is there."""
    missing = [name for name in ("torch", "transformers") if find_spec(name) is None]
    return f"{' and '.join(missing)} not installed: pip install 'llm-trace[local]'" if missing else None


def list_models_at_hand(named: Iterable[str | None], queue: Path) -> list[str]:
    """Return the models that can be opened here, the likeliest first.

    Args:
        named: models that a call or an attribution names: those count that are a folder or in the cache.
        queue: where the policies of background attribution stand; what they name counts too.
    """
    cached = set(_list_cached())
    wanted = [name for name in (*named, *_read_policies(queue)) if name]
    known = [name for name in wanted if name in cached or (Path(name) / "config.json").is_file()]
    registered = _list_registered()
    named_points = [name for name in wanted if name in registered]
    return list(dict.fromkeys([*known, *named_points, *registered, *sorted(cached)[:MOST]]))


@functools.cache
def _list_registered() -> list[str]:
    """Return the models of installed packages, ours among them."""
    from llm_trace.attribution.models.loading import GROUP

    return sorted({"demo", *(point.name for point in list_entry_points(GROUP))})


def _list_cached() -> Iterator[str]:
    """Yield the models in Hugging Face's cache."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    for folder in cache.glob("models--*"):
        if any(folder.glob("snapshots/*/config.json")):
            yield folder.name.removeprefix("models--").replace("--", "/")


def _read_policies(queue: Path) -> Iterator[str]:
    for place in sorted((queue / "policies").glob("*.json")):
        try:
            policy = json.loads(place.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(policy, dict) and isinstance(policy.get("model"), str):
            yield policy["model"]
