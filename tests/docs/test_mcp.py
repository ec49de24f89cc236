"""docs/mcp.md: its tables are those of the code."""

from __future__ import annotations

import re

from llm_trace.mcp.clients import CLIENTS
from llm_trace.mcp.tools import TOOLS
from tests.helpers.cli_toys import ROOT


def test_the_tables_list_every_tool_and_client() -> None:
    text = (ROOT / "docs" / "mcp.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(.+?)` \| (.+) \|$", text, re.MULTILINE)
    clients = [(client.name, f"`{client.file}`") for client in CLIENTS.values()]
    assert rows == [*clients, *((tool.name, tool.description) for tool in TOOLS)]
