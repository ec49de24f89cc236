"""Clients that keep their servers in a file, and that file with the entry of ours, and all else as it was."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llm_trace.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAME = "llm-trace"
"""Of the entry."""


@dataclass(frozen=True)
class McpClient:
    """Where a client keeps its servers."""

    name: str
    file: str
    """Below the project's folder, or the user's home where it begins with ~."""
    section: str
    form: Literal["json", "toml"] = "json"
    extra: tuple[tuple[str, str], ...] = ()
    """What its entries have besides command and args."""


CLIENTS = {
    client.name: client
    for client in (
        McpClient("claude-code", ".mcp.json", "mcpServers"),
        McpClient("codex", "~/.codex/config.toml", "mcp_servers", "toml"),
        McpClient("cursor", ".cursor/mcp.json", "mcpServers"),
        McpClient("gemini", ".gemini/settings.json", "mcpServers"),
        McpClient("vscode", ".vscode/mcp.json", "servers", extra=(("type", "stdio"),)),
        McpClient("windsurf", "~/.codeium/windsurf/mcp_config.json", "mcpServers"),
    )
}


@dataclass(frozen=True)
class FileChange:
    """A client's file before and after."""

    path: Path
    before: str | None
    """`None` where there is no such file."""
    after: str

    def write(self) -> None:
        """Write the file whole or not at all, through links and with the rights that it has.

        Raises:
            ConfigurationError: somebody else wrote it since it was read.
        """
        path = self.path.resolve()
        if _read_file(path) != self.before:
            raise ConfigurationError(f"{str(path)!r} was changed meanwhile: look again before it is written")
        path.parent.mkdir(parents=True, exist_ok=True)
        number, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(number, "w", encoding="utf-8", newline="") as file:
                file.write(self.after)
            Path(part).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o600)
            Path(part).replace(path)
        except BaseException:
            Path(part).unlink()
            raise


def build_entry(client: McpClient, arguments: Sequence[str]) -> dict[str, Any]:
    """Return the entry that starts the server with these arguments of `llm-trace mcp`."""
    command = {"command": sys.executable, "args": ["-m", "llm_trace.cli", "mcp", *arguments]}
    return {**dict(client.extra), **command}


def plan_install(client: McpClient, entry: Mapping[str, Any], path: Path) -> FileChange:
    """Return a client's file with the entry in it, and all else as it was.

    Raises:
        ConfigurationError: the file cannot be read, or not be written without losing what it has.
    """
    before = _read_file(path)
    add = _add_to_json if client.form == "json" else _add_to_toml
    try:
        after = add(before or "", client.section, entry)
    except ValueError as exc:
        raise ConfigurationError(
            f"{str(path)!r} stays as it is: {exc}. Add to its {client.section} by hand: "
            f"{json.dumps({NAME: entry}, ensure_ascii=False)}"
        ) from exc
    return FileChange(path, before, after)


def _read_file(path: Path) -> str | None:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"{str(path)!r} stays as it is: it is no UTF-8 ({exc})") from exc


def _add_to_json(text: str, section: str, entry: Mapping[str, Any]) -> str:
    data = json.loads(text, object_pairs_hook=_build_object) if text.strip() else {}
    servers = data.setdefault(section, {}) if isinstance(data, dict) else None
    if not isinstance(servers, dict):
        raise ValueError(f"it has no object {section!r}")  # noqa: TRY004  # of the file, not of an argument
    servers[NAME] = dict(entry)
    indent = re.search(r"^([ \t]+)\S", text, re.MULTILINE)
    end = "\n" if not text or text.endswith("\n") else ""
    return json.dumps(data, indent=indent[1] if indent else 2, ensure_ascii=False) + end


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON.

    Raises:
        ValueError: it has a name twice, of which one would be lost.
    """
    data = dict(pairs)
    if len(data) != len(pairs):
        raise ValueError("an object in it has a name twice")
    return data


def _add_to_toml(text: str, section: str, entry: Mapping[str, Any]) -> str:
    """Return TOML with the entry's table at its end in place of a former one, comments and order kept."""
    expected = tomllib.loads(text)
    servers = expected.setdefault(section, {})
    if not isinstance(servers, dict):
        raise ValueError(f"it has no table {section!r}")  # noqa: TRY004  # of the file, not of an argument
    servers[NAME] = dict(entry)
    former = re.compile(rf"^\[{section}\.\"?{NAME}\"?[.\]].*\n(?:(?![ \t]*\[).*\n?)*", re.MULTILINE)
    rest = former.sub(lambda match: _keep_comments(match[0]), text).rstrip()
    values = (f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items())
    table = "\n".join([f"[{section}.{NAME}]", *values, ""])
    after = f"{rest}\n\n{table}" if rest else table
    if tomllib.loads(after) != expected:
        raise ValueError("the entry cannot be put into it without changing something else")
    return after


def _keep_comments(table: str) -> str:
    """Return the comments of a table that goes: they may be about what follows it."""
    return "".join(line for line in table.splitlines(keepends=True) if line.lstrip().startswith("#"))
