"""`llm-trace review`: decide about calls, with a log that proves what was decided; or verify that log."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from llm_trace.cli import options as o
from llm_trace.cli.asking import read_line, show_question
from llm_trace.cli.output import exit_nothing, make_console, make_plain_text, print_complaint, print_json
from llm_trace.paths import find_existing
from llm_trace.rendering.formatting import count_things

if TYPE_CHECKING:
    from llm_trace.operations.review_queue import QueuedCall
    from llm_trace.operations.reviews import ExplainMode, Review, ReviewWriter
    from llm_trace.stores.duckdb import Store

EXAMPLE = "Example: llm-trace review --as anna --explain random"
_SHOWN = 20
"""Problems of a log that are printed."""

ReviewScore = Annotated[
    str, typer.Option("--score", metavar="NAME", help="The score that a decision gives; gates use correct.")
]
Reviewer = Annotated[
    str | None,
    typer.Option(
        "--as", envvar="LLM_TRACE_REVIEWER", metavar="PERSON", help="Who decides; absent: the account's name."
    ),
]
ExplainShare = Annotated[
    str,
    typer.Option(
        "--explain",
        metavar="WHO",
        help=(
            "Who sees what mattered and what the model says of itself: always, never, or random, which draws "
            "it for each person and call, so that llm-trace worth can say what explanations are worth."
        ),
    ),
]
Others = Annotated[
    bool,
    typer.Option("--others", help="Also calls that others have decided, so that agreement can be measured."),
]
Verify = Annotated[
    bool,
    typer.Option("--verify", help="Prove instead that no review was changed, dropped, moved or cut off."),
]
Expect = Annotated[
    str | None,
    typer.Option("--expect", metavar="HEAD", help="With --verify: the log must still hold this COUNT:HASH."),
]
LogFile = Annotated[
    Path | None,
    typer.Option("--log", metavar="FILE", help="With --verify: the log, where it is not beside the store."),
]
AgreementOption = Annotated[
    bool, typer.Option("--agreement", help="Print instead how far reviewers agree: Krippendorff's alpha.")
]


def review_calls(
    score: ReviewScore = "correct",
    reviewer: Reviewer = None,
    explain: ExplainShare = "always",
    others: Others = False,
    verify: Verify = False,
    expect: Expect = None,
    log: LogFile = None,
    agreement: AgreementOption = False,
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
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="The N newest.")] = 100,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """Decide about calls one after the other, first those that a gate or rule has sent to a person.

    Each decision is a person's score and an entry of a log in which every entry holds the hash of the one
    before: who saw what, decided what, in how many seconds.
    """
    if verify or expect is not None or log is not None:
        _verify(store, log, expect, as_json)
        return
    if agreement:
        _print_agreement(store, score, as_json)
        return
    chosen = o.build_filters(
        run=run, name=name, kind=kind, model=model, tag=tag, session=session, status=status, since=since,
        until=until, where=where,
    )  # fmt: skip
    _review(store, chosen, score, reviewer, explain, others=others, limit=limit, as_json=as_json)


def _review(
    path: str,
    filters: dict[str, Any],
    rating: str,
    reviewer: str | None,
    explain: str,
    *,
    others: bool,
    limit: int,
    as_json: bool,
) -> None:
    from llm_trace.operations.review_queue import build_queue
    from llm_trace.operations.reviews import ExplainMode, ReviewWriter, check_reviewer
    from llm_trace.stores.duckdb import open_store

    o.check_one_of("--explain", explain, ExplainMode)
    person = check_reviewer(_name_account() if reviewer is None else reviewer)
    with open_store(path) as store:
        queue = build_queue(store, filters, reviewer=person, rating=rating, others=others, limit=limit)
        if not queue:
            exit_nothing(f"no call matches that waits for a decision of {person} on {rating}", quiet=as_json)
        with ReviewWriter(store.path) as writer:
            asker = _Asker(store, writer, person, rating, explain)  # type: ignore[arg-type]
            asker.ask(queue)
    if as_json:
        print_json({"reviews": asker.count, "head": asker.head})
    else:
        _print_kept(asker.count, asker.head)


def _name_account() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container without an account
        raise typer.BadParameter("say who decides", param_hint="--as") from None


def _print_kept(count: int, head: str | None) -> None:
    ends = f"; the log ends with {head}" if head else ""
    make_console().print(make_plain_text(f"{count_things(count, 'review')} kept{ends}"), soft_wrap=True)


class _Asker:
    """Asks a person about calls and keeps the answers."""

    def __init__(
        self, store: "Store", writer: "ReviewWriter", reviewer: str, rating: str, mode: "ExplainMode"
    ) -> None:
        self._store, self._writer = store, writer
        self._reviewer, self._rating, self._mode = reviewer, rating, mode
        self.count = 0
        self.head: str | None = None

    def ask(self, queue: "list[QueuedCall]") -> None:
        """Go through calls until `q` is typed or the input ends."""
        waiting = count_things(len(queue), "call")
        hint = f"{waiting} for {self._reviewer}. y or n, a number or a label. Empty: skip. q: quit."
        make_console().print(make_plain_text(hint, "dim"))
        for number, queued in enumerate(queue, start=1):
            review = self._decide(queued, f"{number} of {len(queue)}")
            if isinstance(review, str):
                return
            if review is not None:
                self.head = str(self._writer.give(review))
                self.count += 1

    def _decide(self, queued: "QueuedCall", where: str) -> "Review | Literal['quit'] | None":
        """Show a call and return the review; `quit`, or `None` where it is skipped."""
        from llm_trace.comparison.feedback import parse_score_value
        from llm_trace.errors import ConfigurationError, NotFoundError
        from llm_trace.operations.reviews import draw_explained, make_review

        call = queued.call
        show_question(call, where)
        if draw_explained(self._mode, self._reviewer, call.span_id):
            _show_explanations(self._store, queued)
        begin = time.monotonic()
        while True:
            text = read_line(self._rating)
            seconds = time.monotonic() - begin
            if text is None or text == "q":
                return "quit"
            if not text:
                return None
            try:
                return make_review(
                    self._store, call.span_id, self._reviewer, parse_score_value(text), rating=self._rating,
                    mode=self._mode, seconds=seconds, comment=read_line("comment"),
                )  # fmt: skip
            except ConfigurationError as exc:
                print_complaint(f"llm-trace: {exc}")
            except NotFoundError as exc:  # purged meanwhile
                print_complaint(f"llm-trace: {exc}")
                return None


def _show_explanations(store: "Store", queued: "QueuedCall") -> None:
    """Print why a call was sent to a person, and what mattered in it."""
    from llm_trace.rendering.heatmap import render_terminal

    out = make_console()
    if queued.asked_by is not None:
        out.print(make_plain_text(f"To check, by {queued.asked_by}: {queued.reason or ''}", "dim"))
    newest = {each.method == "self_report": each for each in store.attributions(queued.call.span_id)}
    for reported, attribution in sorted(newest.items()):
        out.print(make_plain_text("The model says of itself:" if reported else "What mattered:", "dim"))
        out.print(make_plain_text(attribution.summary()))
        out.print(render_terminal(attribution))


def _verify(path: str, log: Path | None, expect: str | None, as_json: bool) -> None:
    from llm_trace.operations.review_audit import verify_reviews

    audit = verify_reviews(find_existing(path), log=log, expected=expect)
    if as_json:
        print_json({**audit.model_dump(mode="json"), "proven": audit.is_proven})
    else:
        words = "Nothing was changed, dropped, moved or cut off" if audit.is_proven else "NOT PROVEN"
        purged = f", {audit.purged:,} of calls that were purged since" if audit.purged else ""
        imported = f", {audit.imported:,} of them imported" if audit.imported else ""
        number = count_things(audit.entries, "review")
        _print_plain(f"{words}: {number}{imported}{purged}. {audit.log}")
        for problem in audit.problems[:_SHOWN]:
            print_complaint(f"llm-trace: {problem}")
        if len(audit.problems) > _SHOWN:
            print_complaint(f"… and {len(audit.problems) - _SHOWN:,} more: --json has all")
        _print_plain(f"Head: {audit.head}")
        if audit.is_proven and expect is None:
            _print_plain("Keep the head elsewhere: --expect HEAD proves later that this much is as it was.")
    if not audit.is_proven:
        raise typer.Exit(1)


def _print_plain(text: str) -> None:
    make_console().print(make_plain_text(text), soft_wrap=True)


def _print_agreement(path: str, rating: str, as_json: bool) -> None:
    from llm_trace.operations.review_agreement import measure_reviewer_agreement
    from llm_trace.stores.duckdb import open_store

    with open_store(path) as store:
        agreement = measure_reviewer_agreement(store, rating)
    if as_json:
        print_json(agreement)
    else:
        _print_plain(f"{agreement}.")
