"""How the demo tells its story in the terminal: short sentences, coloured words, the figures of this run."""

from __future__ import annotations

import contextlib
import textwrap
from typing import TYPE_CHECKING, Any

from llm_trace.demo.world import EXAMPLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rich.console import Console, RenderableType

    from llm_trace.demo.agent_failure import AgentFailure
    from llm_trace.demo.figures import Figures
    from llm_trace.demo.fix import Fix
    from llm_trace.demo.scenes import AnsweredRuns, JudgedRun, WeightShift
    from llm_trace.demo.victim import Crash

OVERVIEW = """
SELECT r.name AS run, c.status, count(*) AS calls,
       count(*) FILTER (c.output ->> '$' = ' APPROVE') AS approved,
       median(c.duration_ms) AS ms, sum(c.input_tokens) AS tokens
FROM calls c JOIN runs r ON r.id = c.run
WHERE c.kind = 'llm' GROUP BY ALL ORDER BY run, calls DESC"""
OPEN = """
SELECT name, status, input FROM calls
WHERE status = 'interrupted' ORDER BY start_ns"""


class Narrator:
    """Prints the story; says nothing without a console.

    Args:
        out: where to print.
        path: the store.
    """

    def __init__(self, out: Console | None, path: Path) -> None:
        self._out = out
        self._path = path
        self._chapter = 0
        self._say("[bold]llm_trace[/]: every LLM call is a row, and every word of a prompt has a weight.")
        self._say("A refund desk asks a small language model that ships with this package. Offline.")
        self._say("")
        for line in _read_source():
            self._print(line, style="cyan", markup=False)

    @contextlib.contextmanager
    def show_waiting(self, what: str) -> Iterator[None]:
        """Show that something is going on, where somebody watches."""
        if self._out is None or not self._out.is_terminal:
            yield
            return
        with self._out.status(f"{what} …"):
            yield

    def tell_answers(self, answers: AnsweredRuns, judged: Sequence[JudgedRun]) -> None:
        """Tell what both prompts answered."""
        self._title(f"Two prompts answer the same {answers.customers} customers")
        self._say(f"[bold]v1[/] states the rules. [bold]v2[/] adds one line: [green]+ {EXAMPLE}[/]")
        self._say(
            "It is meant for what the handbook says besides: broken things may come back within 60 days."
        )
        self._table(
            ("prompt", "approve", "deny", "ask", "as the handbook says"),
            [
                (v, str(t.approve), str(t.deny), str(t.ask), f"{t.right} of {answers.customers}")
                for v, t in answers.tallies.items()
            ],
        )
        which = "all" if answers.wrong == answers.changed else str(answers.wrong)
        self._say(f"It changed {answers.changed} answers, {which} of them into refunds against the handbook.")
        if answers.example is not None:
            texts = answers.example.said
            self._say(f"“{answers.example.message}”", indent=2, style="italic")
            self._say(
                f"v1 says [bold]{texts['v1'].strip()}[/], v2 says [bold]{texts['v2'].strip()}[/].", indent=2
            )
        self._say("[bold]compare[/] tells how sure that is, and where:", before=True)
        rows = [
            (j.customers, str(j.n), f"{100 * j.difference:+.0f} %", _format_bounds(j), j.verdict)
            for j in judged
        ]
        self._table(("customers", "pairs", "v2 - v1", "95 % bounds", "verdict"), rows)
        if judged and judged[0].verdict == "undecided":
            self._say("The average says nothing. The parts do.")
        self._doubt(answers.doubts)

    def tell_shift(self, shift: WeightShift | None) -> None:
        """Tell which words carried both answers."""
        self._title("Which words did it")
        if shift is None:
            self._say("There is no such answer to explain.")
            return
        from llm_trace.rendering.heatmap import render_terminal

        self._say("Each word is left out in turn; its colour is what the answer loses, in nats.")
        for version, attribution in shift.attributions.items():
            self._say(f"[bold]{version}[/]", before=True)
            self._print(render_terminal(attribution))
            self._say(f"{attribution.summary(2)}", indent=2, style="italic", markup=False)
        days, cue = shift.words
        self._say("")
        self._table(
            ("word of the customer", "weight under v1", "weight under v2"),
            [
                (f"“{word}”", _format_signed(w["v1"]), _format_signed(w["v2"]))
                for word, w in ((days, shift.days), (cue, shift.cue))
            ],
        )
        if not shift.doubts:
            self._say(f"The weight moved from [bold]“{days}”[/] to [bold]“{cue}”[/].")
        self._doubt(shift.doubts)

    def tell_crash(self, crash: Crash) -> None:
        """Tell what a killed process left."""
        self._title("kill -9 in the middle of a call")
        self._say("Another process runs the same pipeline. SIGKILL hits it while the model answers.")
        self._table(
            ("returned before the kill", "found in the store", "lost"),
            [(f"{crash.returned}", f"{crash.found}", f"{max(0, crash.returned - crash.found)}")],
        )
        self._say("What was open is there too, with its input:")
        self._sql(OPEN, most=46)
        self._doubt(crash.doubts)

    def tell_fix(self, fix: Fix | None) -> None:
        """Tell what became of the failures."""
        self._title("The fix, on the failures alone")
        if fix is None:
            self._say("There is nothing to mend.")
            return
        self._say(
            "[bold]replay[/] takes the recorded customers, and renders the prompt without the example line."
        )
        self._say(
            f"Of {fix.replayed} answers against the handbook {fix.right} are right now. Offline, {fix.live} "
            f"calls of the model."
        )
        self._doubt(fix.doubts)

    def tell_agent(self, failure: AgentFailure) -> None:
        """Tell why the agent decided so, and what became of it."""
        self._title("An agent, and why it did that")
        self._say("Another small model reads what tools return, call by call, and decides.")
        self._say(f"“{failure.message}”", indent=2, style="italic", markup=False)
        self._say(f"It decides [bold]{failure.answer}[/], the rule says [bold]{failure.right}[/].")
        if failure.causes is not None:
            self._say("[bold]why[/] lets it decide again without each thing that it read:", before=True)
            self._say(failure.causes.summary(), indent=2, markup=False)
            self._say(f"“{failure.causes.steps[0].text}”", indent=2, style="italic", markup=False)
            self._say(f"In a fork of the run where that is empty: [bold]{failure.forked}[/].")
            self._tell_mending(failure.outcomes)
        self._doubt(failure.doubts)

    def _tell_mending(self, outcomes: tuple[str, ...]) -> None:
        from llm_trace.demo.agent_failure import MENDED, READING

        self._say("The failure becomes a test, which the recording answers.", before=True)
        if not outcomes:
            self._say("To run it: pip install pytest")
            return
        before, after = outcomes
        self._say(f"pytest says [bold]{before}[/]. One line is mended, the test recorded again:")
        self._say(f"- {READING}", indent=2, style="red", markup=False)
        self._say(f"+ {MENDED}", indent=2, style="green", markup=False)
        self._say(f"Now pytest says [bold]{after}[/].")

    def tell_end(self, figures: Figures) -> None:
        """Print SQL over everything, what this run measured, and how to go on."""
        self._title("SQL over all of it")
        self._sql(OVERVIEW)
        self._title("Measured in this run")
        costs, shift = figures.costs, figures.shift
        rows = [
            (f"{costs.calls:,}", "calls in the store, of two processes"),
            (
                f"{costs.overhead_us:,.0f} µs",
                f"added to a call by tracing (median), {costs.share:.1%} of the time",
            ),
            (f"{figures.crash.found} of {figures.crash.returned}", "answers found after kill -9"),
            (f"{costs.store_bytes / 1e6:.1f} MB", "store and spool on disk"),
            (f"{figures.seconds:.0f} s", "the whole demo"),
        ]
        if shift is not None:
            rows.insert(
                3,
                (f"{shift.seconds:.2f} s", f"per attribution, {shift.passes // 2} evaluations of the model"),
            )
        self._table(("", ""), rows)
        if not figures.holds:
            self._say("This time the story does not hold, see above.", style="bold red")
        if figures.kept:
            self._title("Go on")
            for command in figures.next:
                self._print(command, soft_wrap=True, style="cyan")

    def list_commands(self, shift: WeightShift | None) -> tuple[str, ...]:
        """Return three commands that look further into this store."""
        span = "last" if shift is None else str(shift.attributions["v2"].span_id)[:8]
        where = f"--store {self._path}"
        return (
            f"llm-trace show {span} {where}",
            f'llm-trace ls --run "refund-desk v2" {where}',
            f"llm-trace prompts refund {where}",
        )

    def _title(self, title: str) -> None:
        if self._out is None:
            return
        from rich.rule import Rule
        from rich.text import Text

        self._chapter += 1
        self._out.print()
        self._out.print(Rule(Text(f"{self._chapter}  {title}", style="bold"), align="left", style="dim"))

    def _say(
        self, text: str, *, indent: int = 0, style: str = "", before: bool = False, markup: bool = True
    ) -> None:
        if self._out is None:
            return
        from rich.padding import Padding
        from rich.text import Text

        if before:
            self._out.print()
        line = Text.from_markup(text, style=style) if markup else Text(text, style=style)
        self._out.print(Padding(line, (0, 0, 0, indent)) if indent else line)

    def _print(self, what: RenderableType, **options: Any) -> None:
        if self._out is not None:
            self._out.print(what, **options)

    def _table(self, names: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
        from rich.table import Table
        from rich.text import Text

        table = Table(
            box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim", show_header=any(names)
        )
        for i, name in enumerate(names):
            number = all(row[i][:1] in "0123456789+-·" for row in rows)
            table.add_column(Text(name), justify="right" if number else "left")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self._say_padded(table)

    def _say_padded(self, what: RenderableType) -> None:
        from rich.padding import Padding

        self._print(Padding(what, (0, 0, 0, 2)))

    def _sql(self, query: str, most: int = 200) -> None:
        """Print a query and its answer over this store."""
        if self._out is None:
            return
        from llm_trace.stores.duckdb import open_store

        self._print(textwrap.indent(query.strip(), "  "), style="cyan", markup=False)
        with open_store(self._path) as store:
            result = store.sql(query)
        rows = [tuple(_format_cell(value, most) for value in row) for row in result.fetchall()[:10]]
        self._table(result.columns, rows)

    def _doubt(self, doubts: tuple[str, ...]) -> None:
        from rich.markup import escape

        for doubt in doubts:
            self._say(f"[yellow]But:[/] {escape(doubt)}.")


def _read_source() -> list[str]:
    """Return the pipeline's code without its docstrings, the model call cut to its first lines."""
    import inspect

    from llm_trace.demo import desk

    lines = [*inspect.getsource(desk.handle).splitlines(), "", *inspect.getsource(desk.ask).splitlines()[:2]]
    return [f"  {line}".rstrip() for line in lines if '"""' not in line] + ["      ..."]


def _format_bounds(judged: JudgedRun) -> str:
    low, high = judged.low, judged.high
    return "" if low is None or high is None else f"{100 * low:+.0f} to {100 * high:+.0f} %"


def _format_signed(value: float) -> str:
    return f"{value:+.1f}" if abs(value) >= 0.05 else "0.0"


def _format_cell(value: Any, most: int) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    if value is None:
        return "·"
    text = " ".join(str(value).split())
    return text if len(text) <= most else f"…{text[len(text) - most + 1 :]}"
