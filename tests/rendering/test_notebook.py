"""What a notebook shows of calls, runs, attributions, comparisons, the store and lists of these."""

from __future__ import annotations

import copy
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.causes.bisect_record import Bisection, BlamedHunk
from llm_trace.causes.bisect_splits import Hunk
from llm_trace.causes.why_record import Arm, Cause, Causes
from llm_trace.record import Attribution, Call, Score, Segment
from llm_trace.record_lists import Attributions, Calls, Records, Runs, ScoreRecords, Trace
from tests.conftest import Recorded
from tests.helpers.cli_toys import record
from tests.helpers.elements import Elements
from tests.helpers.hostile import HOSTILE, record_hostile
from tests.helpers.spool_toys import BEGIN, HandWriter, span


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("notebook") / "t.duckdb"
    record(path)
    return path


def explain(prompt: str = "Be kind now", **fields: Any) -> Attribution:
    """Return an attribution of the words of a prompt."""
    words = [(match.start(), match.end(), match[0]) for match in re.finditer(r"\S+", prompt)]
    segments = tuple(Segment(start=start, end=end, text=text) for start, end, text in words)
    values = (2.0, -4.0, *(0.01 for _ in segments))[: len(segments)]
    defaults: dict[str, Any] = {
        "method": "occlusion", "segments": segments, "values": values, "bounds": "exact", "prompt": prompt,
        "response": "Yes", "target": "the whole response", "baseline": "delete",
    }  # fmt: skip
    return Attribution(**(defaults | fields))


def list_shown(store: Any) -> dict[str, Any]:
    """Return one of each kind of object that shows itself."""
    calls = store.calls()
    scored = next(call for call in calls if store.scores(call.span_id))
    runs = store.runs()
    return {
        "calls": calls, "call": calls[0], "failed": store.calls(status="error")[0],
        "trace": store.trace(calls[-1].trace_id), "runs": runs, "run": runs[0], "prompts": store.prompts(),
        "prompt": store.prompts()[0], "scores": store.scores(scored.span_id),
        "score": store.scores(scored.span_id)[0], "store": store, "attribution": explain(),
        "attributions": Attributions([explain(), explain(verdict="redundant")]),
        "no calls": store.calls(name="nobody"),
        "no runs": Runs(), "no scores": ScoreRecords(), "no attributions": Attributions(),
        "no trace": Trace(),
    }  # fmt: skip


def check_harmless(shown: str) -> Elements:
    """Check that HTML brings nothing that runs or is loaded, and that its style is for itself alone."""
    page = Elements(re.sub(r"<style>.*?</style>", "", shown, count=1, flags=re.DOTALL))
    assert {tag for tag, _ in page.tags} <= {
        "div", "section", "article", "header", "h2", "h3", "h4", "p", "pre", "span", "strong", "small",
        "bdi", "code", "ol", "li", "dl", "dt", "dd", "details", "summary", "table", "thead", "tbody", "tr",
        "th", "td", "svg", "rect", "circle", "ins", "del",
    }  # fmt: skip
    names = {name for _, attributes in page.tags for name in attributes}
    assert not {name for name in names if name.startswith("on")} | names & {"href", "src", "style", "id"}
    assert not set("\x00\x1b\u202e") & set(shown)
    assert not re.search("[\ud800-\udfff]", shown)
    (style,) = re.findall(r"<style>(.*?)</style>", shown, flags=re.DOTALL)
    assert list_outermost(style) == [".llm-trace:not(#_)"]
    assert not re.search(r"url\(|@import|@font-face|[:,\s]rem\b", style)
    return page


def list_outermost(style: str) -> list[str]:
    """Return the selectors of a style sheet that stand in no other."""
    depth, selectors, selector = 0, [], ""
    for sign in style:
        if sign == "{":
            if not depth:
                selectors.append(selector.strip())
            depth += 1
        elif sign == "}":
            depth -= 1
            selector = ""
        elif not depth:
            selector += sign
    assert depth == 0
    return selectors


def make_causes(text: str) -> Causes:
    """Return the causes of a decision: a step that stands out, one that does not, one that was not tried."""
    steps = (
        Cause(text, "tool", text, None, Arm(1, 10), 0.9, 0.41, 0.98, 0.001, 0.002),
        Cause("the system prompt", "system", "Be kind.", None, Arm(9, 10), 0.1, -0.2, 0.4, 1.0, 1.0),
        Cause("the user's words", "user", "Hello", None, Arm(0, 0), 0.0, -1.0, 1.0, 1.0, 1.0),
    )
    return Causes("a", text, "b", steps, Arm(10, 10), 30, 0.95, "nearness", (text, "the user"), (text,))


def make_bisection(text: str) -> Bisection:
    """Return a bisection that found one hunk."""
    hunk = Hunk(kind="line", name=text, before="", after=text)
    blamed = BlamedHunk(hunk=hunk, number=2, loss_with=0.9, loss_without=0.1, low=0.5, high=0.95, answers=12)
    return Bisection(
        a=text, b=text, status="found", relation="alone", hunks=(blamed,), change=(hunk, hunk), inputs=40,
        worse=12, confidence=0.95, notes=(text,),
    )  # fmt: skip


def test_causes_show_each_step_that_was_tried_with_its_bounds() -> None:
    page = check_harmless(make_causes("tool result 3")._repr_html_())
    for text in ("came from tool result 3", "Effect, 95% bounds", "+0.90 (+0.41 to +0.98)", "9 of 10"):
        assert text in page.text
    assert "Hello" not in page.text
    assert "tool result 3 ← the user" in page.text


def test_a_bisection_shows_the_hunk_to_blame_with_its_bounds() -> None:
    page = check_harmless(make_bisection("Example: broken -> APPROVE")._repr_html_())
    for text in ("One hunk of 2 broke it", "Hunk 2", "+ Example: broken", "+0.80 (+0.50 to +0.95)"):
        assert text in page.text


def test_every_record_and_list_shows_itself_without_script_request_or_a_mark_on_the_notebook(
    place: Path,
) -> None:
    for name, shown in list_shown(llm_trace.open_store(place)).items():
        page = check_harmless(shown._repr_html_())
        assert page.text.strip(), name


def test_hostile_text_in_every_field_is_shown_as_text(recorded: Recorded) -> None:
    record_hostile(recorded.path)
    store = llm_trace.open_store(recorded.path)
    calls = store.calls(limit=None)
    shown: list[Any] = [
        store, calls, *calls, Trace(calls), store.runs(), *store.runs(), store.prompts(), *store.prompts(),
        ScoreRecords(Score(span_id=text, name=text, value=text, comment=text, time_ns=1) for text in HOSTILE),
        *(
            explain(text, response=text, method=text, baseline=text, target=text, bounds=text, model=text,
                    warnings=(text,), notes=(text,), verdict="redundant", target_tokens=(text,),
                    matrix=((1.0,) * len(text.split()),))
            for text in HOSTILE
        ),
        *map(make_causes, HOSTILE),
        *map(make_bisection, HOSTILE),
    ]  # fmt: skip
    for item in shown:
        check_harmless(item._repr_html_())
    whole = Elements(calls._repr_html_()).text
    assert "<script>alert(1)</script>" in whole
    assert "␛[31mred␛[0m" in whole


def test_lists_of_the_store_are_lists_and_their_slices_show_themselves_too(place: Path) -> None:
    store = llm_trace.open_store(place)
    calls = store.calls()
    assert isinstance(calls, list)
    assert calls == list(calls)
    assert repr(calls) == repr(list(calls))
    assert calls[1:3] == list(calls)[1:3]
    assert all(type(some) is Calls for some in (calls, calls[1:3], calls.copy(), copy.copy(calls)))
    assert isinstance(calls[0], Call)
    assert pickle.loads(pickle.dumps(calls)) == calls
    assert json.loads(json.dumps([call.span_id for call in calls])) == [call.span_id for call in calls]
    kinds = (store.trace(calls[0].trace_id), store.runs(), store.prompts(), store.scores(calls[0].span_id))
    assert all(isinstance(some, Records) for some in (*kinds, store.attributions(calls[0].span_id)))


def test_a_list_of_records_is_a_data_frame_where_one_is_asked_for(place: Path) -> None:
    pytest.importorskip("pandas")
    calls = llm_trace.open_store(place).calls()
    frame = calls.to_frame()
    assert list(frame["span_id"]) == [call.span_id for call in calls]
    assert set(frame.columns) == set(Call.model_fields) - {"documents"}


def test_a_table_of_calls_says_of_each_what_the_store_says(place: Path) -> None:
    page = Elements(llm_trace.open_store(place).calls(kind="llm")._repr_html_())
    assert [tag for tag, _ in page.tags].count("tr") == 1 + 3
    for text in ("ask", "toy-1", "9→2", "$0.00012", "hello three", "ok"):
        assert text in page.text


def test_a_trace_is_a_tree_over_time_and_each_call_opens_to_what_went_in_and_out(
    writer: HandWriter, recorded: Recorded
) -> None:
    for number, (parent, begin, end) in {1: (None, 0, 100), 2: (1, 0, 40), 3: (2, 10, 30)}.items():
        parent_id = {} if parent is None else {"parent_id": span(parent)}
        writer.start(number, trace_id="a" * 32, start_ns=BEGIN + begin, **parent_id)
        writer.end(number, end_ns=BEGIN + end)
    page = Elements(recorded.trace("a" * 32)._repr_html_())
    bars = [attributes for tag, attributes in page.tags if tag == "rect"]
    places = [(bar["x"], bar["width"]) for bar in bars]
    assert places == [("0.0", "1000.0"), ("0.0", "400.0"), ("100.0", "200.0")]
    depths = [attributes["width"] for tag, attributes in page.tags if attributes.get("class") == "indent"]
    assert depths == ["0", "14", "28"]
    assert page.text.count("Input") == 3


def test_a_failed_call_shows_its_error(place: Path) -> None:
    page = Elements(llm_trace.open_store(place).calls(status="error")[0]._repr_html_())
    assert "ValueError" in page.text
    assert "no answer [red]to that[/red]" in page.text


def test_an_attribution_shows_summary_answer_bounds_and_a_scale_symmetric_around_zero() -> None:
    why = explain(low=(1.5, -4.5, -0.1), high=(2.5, -3.5, 0.12), confidence=0.9, model="toy-1", passes=4)
    page = Elements(why._repr_html_())
    assert why.summary() in page.text
    assert "Answer: Yes" in page.text
    assert "−4" in page.text
    assert "+4" in page.text
    levels = [name for name in page.list_values("span", "class") if name.startswith("w ")]
    assert levels == ["w v2", "w v-5", "w v0"]
    assert page.list_values("span", "title")[0] == "+2 nats, +1.5 to +2.5"
    assert "90 % bounds" in page.text
    assert "-4.5 to -3.5" in page.text
    assert "Against: delete. Cost: 4 evaluations" in page.text
    assert "Not evidence" not in page.text
    bars = {a["class"]: a for tag, a in page.tags if tag == "rect" and "bar" in (a["class"] or "")}
    assert (bars["bar up"]["x"], bars["bar down"]["x"]) == ("500.0", "55.6")


def test_an_attribution_that_is_no_evidence_says_so_and_why() -> None:
    page = Elements(explain(verdict="redundant")._repr_html_())
    assert "Not evidence: segments that each suffice stand in for each other" in page.text
    assert "panel attribution unsure" in page.list_values("section", "class")


def test_a_matrix_is_a_table_of_output_tokens_against_the_strongest_segments() -> None:
    why = explain(matrix=((1.0, -2.0, 0.0), (0.0, 2.0, 0.0)), target_tokens=("Ye", "s"))
    page = Elements(why._repr_html_())
    rows = [a["class"] for tag, a in page.tags if tag == "td" and (a.get("class") or "").startswith("v")]
    assert rows[:4] == ["v-5", "v5", "v2", "v0"]


def test_a_prompt_of_twenty_thousand_words_is_shown_whole_and_light() -> None:
    prompt = " ".join(f"word{number}" for number in range(20_000))
    shown = explain(prompt)._repr_html_()
    assert prompt in Elements(shown).text
    assert len(shown) < len(prompt) + 40_000


def test_long_texts_are_cut_and_say_so(store: Recorded) -> None:
    ask: Any = llm_trace.trace(lambda text: text)
    ask("x" * 100_000)
    shown = store.calls()[0]._repr_html_()
    assert "… 96,000 more characters" in shown
    assert len(shown) < 40_000


def test_a_comparison_shows_dots_and_whiskers_and_the_answers_that_got_worse(store: Recorded) -> None:
    ask: Any = llm_trace.trace(kind="llm")(lambda question, run: f"{run} says {question}")
    for run, scores in (("old", [1, 1, 1, 1]), ("new", [1, 0, 0, 1])):
        with llm_trace.start_run(run):
            for number, score in enumerate(scores):
                ask(f"question {number}", run=run)
                llm_trace.log_score("right", score)
    comparison = llm_trace.compare("old", "new", store=store.path)
    page = check_harmless(comparison._repr_html_())
    bounded = [metric for _, metric in comparison.rows() if metric.low is not None]
    assert len(page.list_values("svg", "aria-label")) == len(bounded)
    assert "right: 1 → 0" in page.text
    assert [tag for tag, _ in page.tags if tag in ("del", "ins")]


def test_light_and_dark_follow_the_front_end_or_else_the_machine() -> None:
    shown = explain()._repr_html_()
    assert "color-scheme:light dark" in shown.replace(": ", ":")
    for sign in ('[data-jp-theme-light="false"]', ".vscode-dark", '[theme="dark"]'):
        assert sign in shown


def test_showing_needs_no_extra(place: Path) -> None:
    extras = ("jinja2", "markdown_it", "starlette", "numpy", "pandas", "IPython")
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({extras!r}))\n"
        "import llm_trace\n"
        f"store = llm_trace.open_store({str(place)!r})\n"
        "calls = store.calls()\n"
        "shown = [store, calls, calls[0], store.trace(calls[0].trace_id), store.runs(), store.prompts()]\n"
        "print(all(item._repr_html_() for item in shown))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_a_call_in_a_tree_shows_its_last_messages_since_those_before_it_have_the_others(
    store: Recorded,
) -> None:
    ask: Any = llm_trace.trace(kind="llm")(lambda messages: "done")
    ask([{"role": "user", "content": f"message {number}."} for number in range(9)])
    (call,) = store.calls()
    page = Elements(store.trace(call.trace_id)._repr_html_())
    left = len(call.messages_in) + len(call.messages_out) - 4
    assert f"{left} earlier messages" in page.text
    assert "message 8." in page.text
    assert "Outputdone" in page.text
    assert "message 1." not in page.text
    assert "message 1." in Elements(call._repr_html_()).text
