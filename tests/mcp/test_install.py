"""`llm-trace mcp install`: the entry in each client's file, all else as it was, never a broken file."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from llm_trace.mcp.clients import CLIENTS
from tests.helpers.cli_toys import invoke


def install(file: Path, client: str, *more: str, stdin: str | None = None) -> Any:
    arguments = (
        "mcp",
        "install",
        client,
        "--file",
        str(file),
        "--function",
        "app:answer",
        "--folder",
        "/app",
    )
    return invoke(file.with_name("traces.duckdb"), *arguments, *more, stdin=stdin)


def build_expected(file: Path, **extra: str) -> dict[str, Any]:
    arguments = [
        "--store",
        str(file.with_name("traces.duckdb")),
        "--function",
        "app:answer",
        "--folder",
        "/app",
    ]
    command = {"command": sys.executable, "args": ["-m", "llm_trace.cli", "mcp", *arguments]}
    return {"llm-trace": {**extra, **command}}


@pytest.mark.parametrize("client", CLIENTS)
def test_a_file_that_is_not_there_is_made_with_the_entry(tmp_path: Path, client: str) -> None:
    file = tmp_path / "folder" / "servers"
    result = install(file, client, "--yes")
    assert (result.exit_code, result.stderr) == (0, f"{file} is written: start the client again to use it\n")
    assert f"+++ {file}" in result.stdout
    read = tomllib.loads if client == "codex" else json.loads
    extra = {"type": "stdio"} if client == "vscode" else {}
    assert read(file.read_text()) == {CLIENTS[client].section: build_expected(file, **extra)}
    assert install(file, client).stderr == f"{file} has this entry already\n"
    assert [p.name for p in file.parent.iterdir()] == ["servers"]


def test_json_keeps_what_it_has_and_its_indent(tmp_path: Path) -> None:
    file = tmp_path / ".mcp.json"
    file.write_text(
        '{\n    "b": "ü",\n    "mcpServers": {"other": {"command": "x"}},\n    "a": [1.5, null]\n}'
    )
    file.chmod(0o640)
    assert install(file, "claude-code", "--yes").exit_code == 0
    expected = {"b": "ü", "mcpServers": {"other": {"command": "x"}, **build_expected(file)}, "a": [1.5, None]}
    assert file.read_text() == json.dumps(expected, indent=4, ensure_ascii=False)
    assert file.stat().st_mode & 0o777 == 0o640


TOML = """# mine
model = "o"  # kept

[mcp_servers.llm-trace]
command = "old"
[mcp_servers.llm-trace.env]
A = "1"

# about the other
[mcp_servers.other]
command = "y"
"""


def test_toml_keeps_its_comments_and_an_old_entry_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(TOML)
    assert install(file, "codex", "--yes").exit_code == 0
    text = file.read_text()
    kept = '# mine\nmodel = "o"  # kept\n\n# about the other\n[mcp_servers.other]\ncommand = "y"\n\n'
    assert text.startswith(f"{kept}[mcp_servers.llm-trace]\n")
    assert tomllib.loads(text) == {
        "model": "o", "mcp_servers": {"other": {"command": "y"}, **build_expected(file)},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("client", "text", "reason"),
    [
        ("cursor", '{"mcpServers": {}, // a comment\n}', "Expecting property name"),
        ("cursor", '{"mcpServers": {}', "Expecting ',' delimiter"),
        ("cursor", '{"a": 1, "a": 2}', "an object in it has a name twice"),
        ("cursor", "[]", "it has no object 'mcpServers'"),
        ("gemini", '{"mcpServers": []}', "it has no object 'mcpServers'"),
        ("codex", "a = ", "Invalid value"),
        ("codex", 'mcp_servers = {other = {command = "x"}}', "Cannot declare"),
        ("codex", "mcp_servers = 1", "it has no table 'mcp_servers'"),
    ],
    ids=["comment", "open", "twice", "list", "section", "toml", "inline", "number"],
)
def test_a_file_that_cannot_be_changed_safely_stays_as_it_is(
    tmp_path: Path, client: str, text: str, reason: str
) -> None:
    file = tmp_path / "servers"
    file.write_text(text)
    result = install(file, client, "--yes")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"llm-trace: '{file}' stays as it is: {reason}")
    assert f"by hand: {json.dumps(build_expected(file))}" in result.stderr
    assert file.read_text() == text


def test_without_a_person_to_ask_nothing_is_written(tmp_path: Path) -> None:
    file = tmp_path / ".mcp.json"
    result = install(file, "claude-code", stdin="y\n")
    assert result.exit_code == 1
    assert '+    "llm-trace": {' in result.stdout
    assert result.stderr == "llm-trace: nothing was written, for nobody can be asked here: --yes writes it\n"
    assert not file.exists()


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "mcp.json", tmp_path / "mcp.json"
    real.write_text("{}")
    link.symlink_to(real)
    assert install(link, "cursor", "--yes").exit_code == 0
    assert link.is_symlink()
    assert "llm-trace" in json.loads(real.read_text())["mcpServers"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(["install"], "name one or several: claude-code"), (["install", "emacs"], "'emacs' is none of them"),
     (["serve", "cursor"], "serve takes no client")],
    ids=["none", "unknown", "serve"],
)  # fmt: skip
def test_a_client_that_is_not_known_is_a_wrong_use(
    tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    result = invoke(tmp_path / "t.duckdb", "mcp", *arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr.replace("\n", " ").replace("│", "").replace("  ", " ")
