"""The file of a screen: terms on the first line, an instance on each other, appended by any process."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.proxies.screen_state import Screen, ScreenedCall, Terms

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SAME = ("version", "oracle_id", "proxy_id")
"""What must not have changed for a screen to hold."""


class File:
    """The file of a screen in a folder: terms on the first line, an instance on each other."""

    def __init__(self, folder: Path, terms: Terms) -> None:
        parts = json.dumps([terms.task, terms.oracle, terms.proxy, terms.how])
        self.path = folder / f"{hashlib.sha256(parts.encode()).hexdigest()[:16]}.jsonl"
        self.terms = terms

    def read(self) -> Screen:
        """Return the screen; `undecided` where there is none, `expired` of other models or versions."""
        try:
            first, *lines = self.path.read_text().splitlines()
            terms = json.loads(first)
        except FileNotFoundError:
            return Screen(
                self.terms, stopped=f"{self.terms.proxy} was never screened for {self.terms.task!r}"
            )
        except (OSError, ValueError) as exc:
            return Screen(self.terms, expired=f"its file {str(self.path)!r} cannot be read ({exc})")
        now = asdict(self.terms)
        changed = [name for name in _SAME if terms.get(name) != now[name]]
        if changed:
            return Screen(self.terms, expired=f"{_describe_change(changed[0], terms)}: screen again")
        known = {f.name for f in fields(Terms)}
        return Screen(Terms(**{k: v for k, v in terms.items() if k in known}), _read_instances(lines))

    def begin(self, instances: Sequence[ScreenedCall] = ()) -> None:
        """Make the file anew with these instances; what else it held is gone."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text("".join([_build_line(self.terms), *map(_build_line, instances)]))
        temporary.replace(self.path)

    def append(self, instance: ScreenedCall) -> None:
        """Add an instance: one write, so that processes do not disturb each other."""
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(handle, _build_line(instance).encode())
        finally:
            os.close(handle)


def _build_line(entry: Terms | ScreenedCall) -> str:
    return json.dumps(asdict(entry)) + "\n"


def list_screens(folder: Path) -> list[Screen]:
    """Return what a folder holds, as written: whether the models are still the same is not checked."""
    screens = []
    for path in sorted(folder.glob("*.jsonl")):
        try:
            first, *lines = path.read_text().splitlines()
            screens.append(Screen(Terms(**json.loads(first)), _read_instances(lines)))
        except (OSError, ValueError, TypeError):
            continue
    return screens


def _describe_change(what: str, terms: dict[str, Any]) -> str:
    return {
        "version": f"it is of format {terms.get('version')!r}",
        "oracle_id": "the oracle is not the model that it was",
        "proxy_id": "the proxy is not the model that it was",
    }[what]


def _read_instances(lines: Sequence[str]) -> tuple[ScreenedCall, ...]:
    instances = []
    for line in lines:
        try:
            values = json.loads(line)
            instances.append(ScreenedCall(**{**values, "answered_by": tuple(values["answered_by"])}))
        except (ValueError, TypeError, KeyError):  # the end of a line that a crash cut
            continue
    return tuple(instances)
