"""`llm-trace annotate`: score calls by hand, or bring scores in from a CSV file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llm_trace.cli import options as o
from llm_trace.cli.asking import read_line, show_question
from llm_trace.cli.output import exit_nothing, make_console, make_plain_text, print_json
from llm_trace.rendering.formatting import count_things

if TYPE_CHECKING:
    from llm_trace.comparison.feedback import Given
    from llm_trace.record import Call
    from llm_trace.stores.duckdb import Store

EXAMPLE = "Example: llm-trace annotate --score helpful --run 'refund-desk v2'"

ScoreOption = Annotated[
    str, typer.Option("--score", metavar="NAME", help="The name of the score that is asked for.")
]
Csv = Annotated[
    Path | None,
    typer.Option(
        "--csv", metavar="FILE", help="Import scores instead: span_id,name,value and, optionally, comment."
    ),
]
NewestOption = Annotated[
    int, typer.Option("--limit", "-n", metavar="N", min=1, help="Look at the N newest calls.")
]


def annotate_calls(
    score: ScoreOption = "rating",
    csv: Csv = None,
    run: o.RunFilter = None,
    name: o.Name = None,
    kind: o.KindFilter = None,
    model: o.ModelFilter = None,
    tag: o.Tag = None,
    session: o.SessionFilter = None,
    status: o.StatusFilter = None,
    since: o.Since = None,
    until: o.Until = None,
    where: o.Where = None,
    limit: NewestOption = 100,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """Go through calls and score them: a number, y or n, or a label; what is scored already is skipped, so
    you can go on later.
    """
    from llm_trace.stores.duckdb import open_store

    chosen = o.build_filters(
        run=run, name=name, kind=kind, model=model, tag=tag, session=session, status=status, since=since,
        until=until, where=where,
    )  # fmt: skip
    with open_store(store) as opened:
        count = (
            _import_scores(opened, csv)
            if csv is not None
            else _ask_scores(opened, opened.calls(**chosen, limit=limit), score)
        )
    if as_json:
        print_json({"scores": count})
    else:
        make_console().print(
            make_plain_text(f"{count} {'score' if count == 1 else 'scores'} kept in {store}")
        )


def _import_scores(store: "Store", path: Path) -> int:
    from llm_trace.comparison.feedback import ScoreWriter, read_score_file

    scores = read_score_file(path, store)
    with ScoreWriter(store.path) as writer:
        for score in scores:
            writer.give(score)
    return len(scores)


def _ask_scores(store: "Store", calls: "list[Call]", name: str) -> int:
    """Ask for a score of each call that has none, until `q` is typed; return how many were given."""
    from llm_trace.comparison.feedback import ScoreWriter, find_unscored

    left = find_unscored(store, calls, name)
    if not left:
        exit_nothing(
            "no call matches" if not calls else f"each of these {len(calls)} calls has a {name} from a person"
        )
    make_console().print(
        make_plain_text(
            f"{count_things(len(left), 'call')} without {name}. Empty: skip. q: quit, and go on later.", "dim"
        )
    )
    count = 0
    with ScoreWriter(store.path) as writer:
        for number, call in enumerate(left, start=1):
            answer = _ask(call, name, f"{number} of {len(left)}")
            if answer == "quit":
                break
            if answer != "skip":
                writer.give(answer)
                count += 1
    return count


def _ask(call: "Call", name: str, where: str) -> "Given | Literal['skip', 'quit']":
    """Show a call and return its score, `skip` or `quit`."""
    from llm_trace.comparison.feedback import Given, parse_score_value

    show_question(call, where)
    text = read_line(name)
    if text is None or text == "q":
        return "quit"
    return Given(call.span_id, name, parse_score_value(text), read_line("comment")) if text else "skip"
