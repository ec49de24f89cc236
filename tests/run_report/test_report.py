"""`llm-trace report`: a page about a run, or about one run against another."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.record import Attribution, Segment
from tests.helpers.cli_toys import invoke
from tests.helpers.elements import Elements
from tests.helpers.hostile import HOSTILE
from tests.helpers.review_toys import decide
from tests.helpers.spool_toys import BEGIN, HandWriter, span


class Unanswered(Exception):
    pass


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs: the second answers one question worse, fails at one and is explained at one."""
    path = tmp_path_factory.mktemp("report") / "t.duckdb"
    llm_trace.configure(path)
    ask: Any = llm_trace.trace(name="ask", kind="llm", model="toy-1")(answer)
    desk: Any = llm_trace.trace(name="desk")(lambda question, run: ask(question, run))
    for run in ("old", "new"):
        with llm_trace.start_run(run, config={"prompt": f"{run} prompt"}):
            for number in range(6):
                try:
                    desk(f"question {number}", run)
                except Unanswered:
                    continue
                llm_trace.log_score("right", 0.25 if (run, number) == ("new", 2) else 1.0)
    llm_trace.shutdown()
    return path


def answer(question: str, run: str) -> str:
    if (run, question) == ("new", "question 4"):
        raise Unanswered(f"no answer to {question}")
    llm_trace.update_current_call(usage={"input_tokens": 9, "output_tokens": 2}, cost_usd=0.00012)
    return f"{run} says {question}"


def write(store: Path, *arguments: str) -> str:
    """Return the page that the command writes."""
    out = store.parent / "report.html"
    result = invoke(store, "report", *arguments, "-o", str(out))
    assert result.exit_code == 0, result.output
    assert result.stderr == f"wrote {out}\n"
    return out.read_text()


def check_self_contained(text: str) -> Elements:
    """Check that a page asks for nothing, runs nothing and brings its style."""
    page = Elements(text)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "a"}
    names = {name for _, attributes in page.tags for name in attributes}
    assert not {name for name in names if name.startswith("on")} | names & {"href", "src", "style", "action"}
    (style,) = re.findall(r"<style>(.*?)</style>", text, flags=re.DOTALL)
    assert not re.search(r"url\(|@import", style)
    assert "@media print" in style
    return page


def test_a_report_of_two_runs_says_what_they_came_to_how_they_compare_and_what_failed(place: Path) -> None:
    text = write(place, "old", "new")
    page = check_self_contained(text)
    headings = re.findall(r"<h[12]>(.*?)</h[12]>", text)
    assert headings == ["new against old", "Comparison", "Failures", "Calls to look at"]
    for figure in ("old prompt", "new prompt", "Failed2 · 16.7%", "right0.85 of 5", "right1 of 6"):
        assert figure in page.text
    comparison = llm_trace.compare("old", "new", store=place)
    bounded = [metric for _, metric in comparison.rows() if metric.low is not None]
    assert len(page.list_values("svg", "aria-label")) == len(bounded)
    assert "right: 1 → 0.25" in page.text
    assert "1errorUnansweredno answer to question 4" in page.text.replace("tests.run_report.test_report.", "")


def test_the_calls_to_look_at_are_those_that_failed_that_lost_and_with_the_lowest_score(place: Path) -> None:
    text = write(place, "old", "new")
    reasons = re.findall(r'<span class="chip">(.*?)</span>', text)
    assert reasons[0].startswith("failed: ")
    assert reasons[0].endswith("Unanswered")
    assert "lost: right 1 → 0.25" in reasons
    assert "lowest right: 0.25" in reasons
    assert text.index("<h2>Failures") < text.index("no answer to question 4")


def test_where_a_call_failed_because_of_one_inside_it_the_one_inside_is_the_failure(place: Path) -> None:
    (inner,) = [call for call in llm_trace.open_store(place).calls(status="error") if call.kind == "llm"]
    page = check_self_contained(write(place, "new"))
    assert inner.span_id in page.text
    assert page.text.count("Traceback (most recent call last)") == 1


def test_a_report_of_one_run_has_no_comparison(place: Path) -> None:
    page = check_self_contained(write(place, "old"))
    assert "No call failed." in page.text
    assert "Comparison" not in page.text


def test_the_last_part_says_what_is_known_of_its_worth_and_why_the_rest_is_not(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    llm_trace.configure(path)
    with llm_trace.start_run("desk"), llm_trace.span("ask", kind="llm", input="late?") as handle:
        handle.set(output="no")
    llm_trace.shutdown()
    with llm_trace.open_store(path) as store:
        (call,) = store.calls()
    decide(path, (call.span_id, "anna", True), seconds=4.0)
    text = write(path, "desk")
    page = check_self_contained(text)
    assert re.findall(r"<h2>(.*?)</h2>", text)[-1] == "What it is worth"
    assert "Reviewers: Seconds of a review4.0 s" in page.text
    assert "Errors prevented: no gate or rule has decided about a call" in page.text


def test_runs_with_nothing_in_common_are_reported_and_the_reason_is_said(store: Any) -> None:
    ask: Any = llm_trace.trace(kind="llm")(lambda question: question)
    for run in ("one", "two"):
        with llm_trace.start_run(run):
            for number in range(3):
                ask(f"{run} {number}")
    page = check_self_contained(write(store.path, "one", "two"))
    assert "Not compared: run one and run two have no input in common" in page.text


def test_a_name_means_its_newest_run_and_an_unknown_one_is_said(store: Any) -> None:
    ask: Any = llm_trace.trace(kind="llm")(lambda question: question)
    for number in (1, 2):
        with llm_trace.start_run("same", config={"try": f"number {number}"}):
            ask("x")
    page = check_self_contained(write(store.path, "same"))
    assert "number 2" in page.text
    assert "number 1" not in page.text
    result = invoke(store.path, "report", "nobody", "-o", str(store.path.parent / "none.html"))
    assert result.exit_code == 3
    assert "no run 'nobody'" in result.stderr
    assert not (store.path.parent / "none.html").exists()


def test_a_call_with_a_low_score_shows_what_mattered_to_the_model_asked_inside_it(
    writer: HandWriter, path: Path
) -> None:
    writer.event("run", id="r" * 16, name="desk", start_ns=BEGIN)
    for number, parent in ((1, None), (2, 1), (3, None)):
        inside = {} if parent is None else {"parent_id": span(parent), "trace_id": f"{parent:032x}"}
        writer.call(number, run="r" * 16, name=f"call {number}", output="YES", **inside)
    for number, value in ((1, 0.0), (3, 1.0)):
        writer.event("score", id=span(number), span_id=span(number), name="right", value=value, time_ns=BEGIN)
    why = Attribution(
        span_id=span(2), method="occlusion", segments=(Segment(start=0, end=4, text="gold"),), values=(3.0,),
        bounds="exact", prompt="gold", response="YES", target="the whole response", baseline="delete",
    )  # fmt: skip
    writer.event(
        "attribution", id=span(9), span_id=span(2), method="occlusion", config_hash="c", time_ns=BEGIN,
        status="ok", attribution=why.model_dump(mode="json"),
    )  # fmt: skip
    page = check_self_contained(write(path, "desk"))
    assert page.list_values("span", "class").count("chip") == 2
    assert page.text.index("lowest right: 0") < page.text.index(why.summary())
    assert "explained" in page.text


def test_hostile_text_in_every_field_is_shown_as_text(store: Any) -> None:
    for number, text in enumerate(HOSTILE):

        @llm_trace.trace(name=text, kind="llm", model=text, tags=[text], metadata={text: text})
        def ask(messages: list[dict[str, Any]], text: str = text) -> dict[str, Any]:
            llm_trace.log_score(text, 0.5)
            if failing:
                raise ValueError(text)
            return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": text}]}

        for run in ("old <b>", "new <b>"):
            failing = run.startswith("new") and number % 2 == 0
            with llm_trace.start_run(run, config={text: text}), llm_trace.using_session(text, user=text):
                try:
                    ask([{"role": text, "content": text}, {"role": "user", "content": text}])
                except ValueError:
                    continue
    text = write(store.path, "old <b>", "new <b>", "--calls", "40")
    check_self_contained(text)
    assert not set("\x00\x1b\u202e") & set(text)


def test_only_its_owner_reads_the_page(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "private.html"
    assert invoke(place, "report", "old", "-o", str(out)).exit_code == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_no_more_calls_are_shown_than_were_asked_for(place: Path) -> None:
    text = write(place, "old", "new", "--calls", "1")
    assert text.count('<p class="chips">') == 1
