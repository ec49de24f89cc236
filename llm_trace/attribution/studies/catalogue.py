"""Everything that is installed to explain answers with, as `llm-trace methods` lists it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.core import plugins
from llm_trace.attribution.methods import registry
from llm_trace.attribution.quality import measures
from llm_trace.attribution.question.segmenters import SEGMENTERS
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from collections.abc import Mapping

BASELINES: dict[str, str] = {
    "delete": "nothing: the segment and one adjoining space are taken away",
    "mask": "as many neutral tokens as the segment had: the mask token, '_' or the unknown token",
    "mean": "the mean embedding; gradient methods",
    "zero": "the zero embedding; gradient methods, for comparison with others only",
}
"""Those that `attribute` knows itself; any other text stands for itself."""
_SEGMENTS = {
    "token": "the model's own tokens",
    "message": "the messages of a chat",
    "variable": "the variables of a `Prompt`",
    "hierarchy": "messages or paragraphs, sentences and words: what matters is taken apart",
}


def list_catalogue() -> list[dict[str, Any]]:
    """Return the methods, segmenters, baselines and quality measures; each has kind, name, source and
    package, methods access and cost.
    """
    return [
        *(_describe_method(name) for name in ["auto", *registry.list_methods()]),
        *_describe_plain("segmenter", plugins.SEGMENTERS, {**SEGMENTERS, **_SEGMENTS}),
        *_describe_plain("baseline", plugins.BASELINES, BASELINES),
        *_describe_plain("quality", plugins.QUALITY, measures.BUILTIN),
    ]


def _describe_method(name: str) -> dict[str, Any]:
    """Return what is known of a method; one that cannot be imported says why."""
    entry = {"kind": "method", "name": name}
    try:
        known = registry.get_info(name)
    except AttributionError as exc:
        return entry | {"access": "?", "cost": "?", "source": str(exc), "package": "?"}
    return entry | {
        "access": known.access,
        "cost": known.cost,
        "source": known.source,
        "package": known.package,
    }


def _describe_plain(kind: str, group: str, builtin: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "kind": kind,
            "name": name,
            "source": _describe_plugin(group, name, builtin),
            "package": plugins.find_package(group, name, builtin),
        }
        for name in plugins.list_names(group, builtin)
    ]


def _describe_plugin(group: str, name: str, builtin: Mapping[str, Any]) -> str:
    """Return the first line of what the plug-in says of itself."""
    known = builtin.get(name)
    if isinstance(known, str) and not re.fullmatch(r"[\w.]+:\w+", known):
        return known
    try:
        plugin = plugins.find_plugin(group, name, builtin, "plug-in")
    except AttributionError as exc:
        return str(exc)
    return str(plugin.__doc__ or "").strip().partition("\n")[0]
