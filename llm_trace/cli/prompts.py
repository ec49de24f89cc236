"""`llm-trace prompts`: the versions of each prompt, how their calls went, and what changed between two."""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_trace.cli import options as o
from llm_trace.cli.output import (
    exit_nothing,
    make_console,
    make_plain_text,
    make_table,
    print_json,
    print_table,
)
from llm_trace.rendering import formatting

if TYPE_CHECKING:
    from llm_trace.comparison.iterations import Diff, Use
    from llm_trace.record import PromptVersion
    from llm_trace.stores.duckdb import Store

EXAMPLE = "Example: llm-trace prompts diff refund v1 v2"

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME] | diff NAME A B",
        help=(
            "Show the templates of this prompt and what each version changed; or compare two versions (v3, "
            "or a hash)."
        ),
    ),
]
COLOURS = {"added": "green", "removed": "red strike", "same": ""}
MARKS = {"added": ("{+", "+}"), "removed": ("[-", "-]"), "same": ("", "")}
"""As git's word diff writes them: what colours say is there without them."""


def list_prompts(words: Words = None, store: o.StoreOption = o.STORE, as_json: o.JsonOption = False) -> None:
    """List prompts and their versions with their calls, scores and costs; with a name its templates; `diff
    NAME A B` compares two.
    """
    from llm_trace.stores.duckdb import open_store

    words = words or []
    with open_store(store) as opened:
        if len(words) == 4 and words[0] == "diff":
            _print_diff(opened, *words[1:], as_json=as_json)
            return
        if len(words) > 1:
            raise typer.BadParameter("give nothing, NAME, or diff NAME A B such as: diff refund v1 v2")
        name = words[0] if words else None
        versions = [p for p in opened.prompts() if name is None or p.name == name]
        uses = _read_uses(opened, versions)
    if as_json:
        used = zip(versions, uses, strict=True)
        print_json([p.model_dump() | {"use": dataclasses.asdict(u)} for p, u in used])
    elif name is None and versions:
        _print_table(versions, uses)
    elif versions:
        _print_templates(versions)
    if not versions:
        exit_nothing(
            "no prompt was recorded: llm_trace.Prompt(name, template).format(…)"
            if name is None
            else f"no prompt is called {name!r}",
            quiet=as_json,
        )


def _read_uses(store: "Store", versions: "list[PromptVersion]") -> "list[Use]":
    from llm_trace.comparison.iterations import use

    return [use(store, version) for version in versions]


def _print_table(versions: "list[PromptVersion]", uses: "list[Use]") -> None:
    columns: dict[str, list[Any]] = {
        "prompt": [p.name for p in versions],
        "version": [f"v{p.number}" for p in versions],
        "hash": [p.version for p in versions],
        "calls": [f"{p.calls:,}" for p in versions],
        "scores": [", ".join(f"{name} {value:.3g}" for name, value in u.scores.items()) for u in uses],
        "tokens": [_format_tokens(u) for u in uses],
        "cost": [formatting.format_cost(u.cost_usd) for u in uses],
        "took": [
            formatting.format_duration(None if u.latency_ms is None else u.latency_ms * 1e6) for u in uses
        ],
        "first used": [formatting.format_clock(p.first_ns) for p in versions],
        "last used": [formatting.format_clock(p.last_ns) for p in versions],
        "template": [formatting.format_one_line(p.template) for p in versions],
    }
    print_table(
        make_console(), make_table(columns, wide=("template",), right=("calls", "tokens", "cost", "took"))
    )


def _format_tokens(use: "Use") -> str:
    """Return the mean tokens in and out of a call."""
    if use.input_tokens is None and use.output_tokens is None:
        return ""
    return formatting.format_tokens(
        *(None if n is None else round(n) for n in (use.input_tokens, use.output_tokens))
    )


def _print_diff(store: "Store", name: str, before: str, after: str, *, as_json: bool) -> None:
    from llm_trace.comparison.iterations import diff, find_prompt_version

    difference = diff(find_prompt_version(store, name, before), find_prompt_version(store, name, after))
    if as_json:
        print_json(
            {
                "before": difference.before,
                "after": difference.after,
                "pieces": [dataclasses.asdict(piece) for piece in difference.pieces],
                "added_variables": difference.added_variables,
                "removed_variables": difference.removed_variables,
            }
        )
        return
    print_pieces(difference)


def print_pieces(difference: "Diff") -> None:
    """Print what one version changed against another, word by word."""
    from rich.text import Text

    out, text = make_console(), Text()
    for piece in difference.pieces:
        begin, end = MARKS[piece.change]
        text.append_text(make_plain_text(f"{begin}{piece.text}{end}", COLOURS[piece.change]))
    out.print(text, soft_wrap=True)
    changed = (("added", difference.added_variables), ("removed", difference.removed_variables))
    for what, names in changed:
        if names:
            out.print(make_plain_text(f"variables {what}: {', '.join(names)}", "dim"))


def _print_templates(versions: "list[PromptVersion]") -> None:
    """Print the first version whole and of each later one the lines that it changed."""
    import difflib

    from rich.rule import Rule

    out = make_console()
    before: list[str] | None = None
    for p in versions:
        title = f"{p.name} v{p.number} {p.version}, {formatting.count_things(p.calls, 'call')}"
        out.print(Rule(make_plain_text(title, "bold"), align="left", style="dim"))
        lines = p.template.splitlines()
        if before is None:
            out.print(make_plain_text(p.template))
        for line in [] if before is None else list(difflib.unified_diff(before, lines, n=1, lineterm=""))[2:]:
            colour = {"+": "green", "-": "red", "@": "dim"}.get(line[:1], "")
            out.print(make_plain_text(line, colour))
        before = lines
