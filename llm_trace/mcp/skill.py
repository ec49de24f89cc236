"""The skill file: how a coding agent finds and proves the cause of a failure with the tools."""

from __future__ import annotations

from importlib.resources import files


def read_skill() -> str:
    """Return the skill file as Markdown with a head, as coding agents read it."""
    return (files("llm_trace.mcp") / "SKILL.md").read_text(encoding="utf-8")
