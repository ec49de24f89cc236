"""Run the demo and draw what it prints: `python docs/make_picture.py` writes docs/terminal.svg.

The picture is the beginning of the demo's real output; nothing in it is written by hand.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.rule import Rule
from rich.terminal_theme import TerminalTheme

from llm_trace.demo import story

CHAPTERS = 2
THEME = TerminalTheme(
    (30, 30, 30),
    (220, 220, 220),
    [
        (30, 30, 30),
        (205, 92, 92),
        (106, 171, 115),
        (214, 183, 95),
        (86, 156, 214),
        (197, 134, 192),
        (78, 201, 176),
        (200, 200, 200),
    ],
    [
        (110, 110, 110),
        (240, 113, 120),
        (140, 200, 150),
        (240, 210, 130),
        (130, 180, 240),
        (220, 160, 220),
        (120, 220, 210),
        (255, 255, 255),
    ],
)
FORMAT = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px;
}}
.{unique_id}-title {{ font-family: sans-serif; font-size: 18px; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
  <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>
{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g></svg>
"""
"""Rich's own, without the font that it would load from the network."""


class Beginning(Console):
    """Records the first chapters of what is printed."""

    chapters = 0

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, until the title of the chapter that is too much."""
        self.chapters += any(isinstance(item, Rule) for item in objects)
        if self.chapters <= CHAPTERS:
            super().print(*objects, **options)


def main(target: Path) -> None:
    """Run the demo and write the picture.

    Raises:
        SystemExit: the story did not hold; no picture pretends otherwise.
    """
    out = Beginning(record=True, highlight=False, width=80, file=io.StringIO())
    figures = story.tell(out, keep=False)
    if not figures["holds"]:
        sys.exit(f"no picture: {'; '.join(figures['doubts'])}")
    svg = out.export_svg(title="llm-trace demo", theme=THEME, code_format=FORMAT, unique_id="demo")
    target.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main(Path(__file__).with_name("terminal.svg"))
