"""Comet: what comet_llm would have sent, and what it has no words for."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from llm_trace.errors import ConfigurationError, MissingExtraError
from llm_trace.exporters import registry
from llm_trace.exporters.comet import CometExporter, make
from llm_trace.exporters.comet.additions import run_key
from llm_trace.exporters.comet.settings import CometSettings
from llm_trace.exporters.delivery.delivery import Delivery
from llm_trace.exporters.delivery.status import get_standing
from llm_trace.exporters.protocol import Event, Request, parse_address
from llm_trace.stores.duckdb import open_store
from tests.helpers.cli_toys import invoke, record
from tests.helpers.exporter_contract import ExporterContract
from tests.helpers.loopback import Loopback, Received, Reply
from tests.helpers.spool_toys import HandWriter, span, spool_of
from tests.helpers.standins.comet import BODIES, CLASSIC, KEY, NOT_LLM, Backend, Comet
from tests.helpers.standins.sending import (
    ASK,
    ROOT,
    START_NS,
    TOOL,
    TRACE,
    ask,
    attribution,
    call,
    run,
    score,
    send,
)
from tests.recorded.record import ANSWER, PROMPT, TEMPLATE, VARIABLES

RECORDED = Path(__file__).parents[1] / "recorded"
START_MS = START_NS // 10**6


class TestComet(ExporterContract):
    settings = "COMET_API_KEY"

    def address(self, server: Loopback) -> str:
        return "comet://team/demo"

    def environment(self, server: Loopback) -> dict[str, str]:
        return {"COMET_API_KEY": KEY, "COMET_URL_OVERRIDE": server.url}

    def answer(self, request: Received) -> Reply:
        return Backend().serve(request)

    def spans(self, request: Received) -> list[str]:
        found = request.json() if request.path.endswith("/llm") else []
        return [named(entry["others"], "key", "value")["llm_trace_span_id"] for entry in found]


@pytest.fixture
def server() -> Iterator[Comet]:
    with Comet() as server:
        yield server


def exporter(server: Comet, **changed: Any) -> CometExporter:
    settings = {
        "api_key": KEY,
        "workspace": "team",
        "project": "demo",
        "runs_project": "demo-runs",
        "base": server.url,
    }
    return CometExporter(CometSettings(**{**settings, **changed}))


def recorded(client: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((RECORDED / f"{client}.json").read_text())
    return found


def prompt_call() -> list[Event]:
    """The lone prompt of tests/recorded/record.py as llm_trace records it."""
    used = {"name": "greeting", "version": "0123456789ab", "variables": VARIABLES, "template": TEMPLATE}
    return [
        call(
            input={"prompt": PROMPT}, output=ANSWER, prompt=used, tags=["a", "b"], model="tiny",
            usage={"input_tokens": 4, "output_tokens": 3},
        ),
    ]  # fmt: skip


def chain_calls() -> list[Event]:
    """The chain of tests/recorded/record.py as llm_trace records it, in the order in which the calls end."""
    usage = {"input_tokens": 4, "output_tokens": 3}
    later = {"start_ns": START_NS + 1, "end_ns": START_NS + 2}
    return [
        call(
            ASK, TOOL, input={"prompt": PROMPT}, output={"output": ANSWER}, model="tiny", usage=usage,
            **later,
        ),
        call(TOOL, ROOT, name="look_up", kind="tool", input={"query": "Where?"}, output=["Here"]),
        call(
            name="answer", kind="chain", input={"question": "Where?"}, output={"answer": "Here"},
            metadata={"user": "ann"}, tags=["c"],
        ),
    ]  # fmt: skip


def meaning(asset: dict[str, Any]) -> dict[str, Any]:
    """Return an asset less times, node names and the prompt's name, for which comet_llm has no word."""
    gone = {"start_timestamp", "end_timestamp", "duration", "chain_duration", "name"}
    kept = {k: v for k, v in asset.items() if k not in gone}
    kept["metadata"] = {k: v for k, v in asset["metadata"].items() if k != "prompt"}
    if "chain_nodes" in asset:
        kept["chain_nodes"] = [meaning(node) for node in asset["chain_nodes"]]
    return kept


def named(values: list[dict[str, Any]], name: str, value: str) -> dict[str, Any]:
    return {v[name]: v[value] for v in values}


@pytest.mark.parametrize(("index", "events"), [(0, prompt_call()), (1, chain_calls())])
def test_the_same_prompt_and_chain_mean_the_same_as_comet_llm_says_them(
    server: Comet, index: int, events: list[Event]
) -> None:
    theirs = [json.loads(r["body"])[0] for r in recorded("comet_llm") if r["path"].endswith("/llm")][index]
    (ours,) = json.loads(send(exporter(server), events)[0].body)
    assert meaning(ours["jsonAsset"]["file"]) == meaning(theirs["jsonAsset"]["file"])
    assert set(ours) == set(theirs)
    assert ours["tags"] == theirs["tags"]
    assert ours["createExperimentRequest"] == theirs["createExperimentRequest"]
    wanted = named(theirs["parameters"], "parameterName", "parameterValue")
    assert named(ours["parameters"], "parameterName", "parameterValue").items() >= wanted.items()
    assert {m["metricName"] for m in theirs["metrics"]} <= {m["metricName"] for m in ours["metrics"]}


@pytest.mark.parametrize("client", ["comet_llm", "comet_ml"])
def test_the_stand_in_takes_what_the_real_clients_sent(client: str) -> None:
    checked = [r for r in recorded(client) if urlsplit(r["path"]).path in BODIES]
    assert len(checked) >= 3
    for request in checked:
        BODIES[urlsplit(request["path"]).path].validate_json(request["body"])


def test_times_are_milliseconds_and_metrics_are_of_the_whole_tree(server: Comet) -> None:
    send(exporter(server), [*chain_calls(), score("helpful", 1.0, ASK)])
    found = server.experiments[TRACE]
    assert found.asset is not None
    assert (found.asset["start_timestamp"], found.asset["end_timestamp"]) == (START_MS, START_MS + 250)
    assert found.metrics == {"chain_duration": 250.0, "input_tokens": 4, "output_tokens": 3, "helpful": 1.0}
    assert found.others == {"Name": "answer", "llm_trace_span_id": ROOT}
    assert found.parameters["scores.helpful"] == 1.0


def test_an_attribution_is_searchable_whole_in_its_node_and_a_page(server: Comet) -> None:
    send(exporter(server), [*prompt_call(), attribution()])
    found = server.experiments[TRACE]
    assert found.parameters["attribution.top_words"] == "<hi>, Say"
    assert found.parameters["attribution.verdict"] == "ok"
    assert found.asset is not None
    assert found.asset["chain_nodes"][0]["metadata"]["attribution"]["values"] == [0.5, -2.0]
    assert b"&lt;hi&gt;</span>" in found.files[f"attribution-{ROOT}-occlusion.html"]


def test_what_comes_after_its_trace_updates_the_experiment(server: Comet) -> None:
    first = exporter(server)
    send(first, chain_calls())
    send(first, [score("helpful", 1.0, ASK), score("tone", "warm", ASK), attribution(ASK)])
    found = server.experiments[TRACE]
    assert (found.metrics["helpful"], found.parameters["scores.tone"]) == (1.0, "warm")
    assert found.parameters["attribution.top_words"] == "<hi>, Say"
    assert set(found.files) == {f"attribution-{ASK}-occlusion.{kind}" for kind in ("html", "json")}


def test_another_process_finds_the_experiment_by_the_trace(server: Comet) -> None:
    send(exporter(server), chain_calls())
    send(exporter(server), [score(span_id=ASK, trace_id=TRACE)])
    assert server.experiments[TRACE].metrics["helpful"] == 1.0


@pytest.mark.parametrize("restarted", [False, True])
def test_what_is_said_while_a_call_runs_goes_with_it(
    server: Comet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restarted: bool
) -> None:
    monkeypatch.setenv("COMET_API_KEY", KEY)
    monkeypatch.setenv("COMET_URL_OVERRIDE", server.url)
    writer = HandWriter(spool_of(tmp_path / "t.duckdb"))

    def step() -> Delivery:
        delivery = Delivery(writer.folder, registry.make_exporter("comet://team/demo"))
        assert delivery.claim()
        delivery.step()
        return delivery

    writer.event("prompt", name="greeting", version="0123456789ab", template=TEMPLATE, time_ns=START_NS)
    writer.start(1, prompt={"name": "greeting", "version": "0123456789ab"})
    writer.event("score", **score(span_id=span(1)).data)
    record = {
        k: v for k, v in attribution().data.items() if k not in ("id", "span_id", "status", "config_hash")
    }
    writer.event("attribution", id="a" * 16, span_id=span(1), method="auto", status="ok", attribution=record)
    writer.rotate()
    first = step()
    if restarted:
        first.close()
    writer.end(1, output="yes")
    second = step() if restarted else first
    second.step()
    second.close()
    found = server.experiments[f"{1:032x}"]
    assert (found.metrics["helpful"], found.parameters["attribution.method"]) == (1.0, "occlusion")
    assert found.asset is not None
    assert found.asset["chain_inputs"]["prompt_template"] == TEMPLATE
    assert get_standing(writer.folder, "comet://team/demo").pending == 0


def test_a_score_of_an_unknown_call_says_so(server: Comet) -> None:
    with pytest.raises(LookupError, match=ASK):
        exporter(server).requests([score(span_id=ASK)])


def test_repeats_and_other_batches_give_the_same_experiments(server: Comet) -> None:
    parts = [call(TOOL, "f" * 16, kind="tool"), call(ASK, "f" * 16)]  # their parent is no call of ours
    send(exporter(server), parts)
    before = dict(server.experiments)
    send(exporter(server), parts[:1])
    send(exporter(server), parts[1:])
    assert server.experiments == before
    assert len(before) == 2


def test_calls_that_are_each_others_parents_are_sent_all_the_same(server: Comet) -> None:
    send(exporter(server), [call(TOOL, ASK), call(ASK, TOOL), call(ROOT, ROOT)])
    assert sorted(e.others["llm_trace_span_id"] for e in server.experiments.values()) == [ROOT, TOOL, ASK]


def test_a_run_is_an_experiment_with_its_configuration(server: Comet) -> None:
    one = exporter(server)
    send(one, [run()])
    send(one, [run(end_ns=START_NS + 10**9)])
    found = server.experiments[run_key("b" * 16)]
    assert (found.project, found.kind, found.tags) == ("demo-runs", "EXPERIMENT", ["a"])
    assert found.parameters == {"temperature": 0.5, "model.name": "tiny"}
    assert found.others["Name"] == "first try"
    assert found.times == (START_MS, START_MS + 1000)
    assert json.loads(found.files["environment.json"])["packages"] == {"x": "1"}


def test_a_stored_run_is_sent_with_what_its_calls_amount_to(
    server: Comet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "t.duckdb"
    record(place)
    monkeypatch.setenv("COMET_API_KEY", KEY)
    monkeypatch.setenv("COMET_URL_OVERRIDE", server.url)
    done = invoke(place, "export", "--to", "comet://team/demo", "--run", "first")
    assert done.exit_code == 0, done.output
    with open_store(place) as store:
        (first,) = (run for run in store.runs() if run.name == "first")
    found = dict(server.experiments[run_key(first.id)].metrics)
    assert found.pop("duration_ms") > 0
    assert found == {
        "calls": 2, "errors": 0, "input_tokens": 9, "output_tokens": 2, "cost_usd": 0.00012,
        "scores.kind": 0.5,
    }  # fmt: skip


def test_a_failed_attribution_and_a_prompt_send_nothing(server: Comet) -> None:
    failed = attribution(trace_id=TRACE, status="failed", error="out of memory")
    prompt = Event("prompt", "greeting:0123456789ab", {"name": "greeting", "template": TEMPLATE})
    assert exporter(server).requests([failed, prompt]) == []


def test_a_call_that_failed_or_was_interrupted_says_so(server: Comet) -> None:
    error = {"type": "builtins.ValueError", "message": "no"}
    gone = call(TOOL, name="gone", trace_id="1" * 32, status="interrupted")
    del gone.data["end_ns"]  # type: ignore[attr-defined]
    send(exporter(server), [call(status="error", error=error), gone])
    failed, interrupted = server.experiments[TRACE], server.experiments["1" * 32]
    assert (failed.parameters["status"], failed.parameters["error.message"]) == ("error", "no")
    assert interrupted.asset is not None
    assert (interrupted.parameters["status"], interrupted.asset["end_timestamp"]) == ("interrupted", None)


def test_large_batches_are_divided_between_trees(server: Comet) -> None:
    calls = [call(f"{n:016x}", trace_id=f"{n + 1:032x}", input={"prompt": "x" * 800_000}) for n in range(5)]
    requests = send(exporter(server), calls)
    assert [len(r.events) for r in requests] == [3, 2]
    assert max(len(r.body) for r in requests) <= 5_000_000
    assert len(server.experiments) == 5


# Bad input


def test_a_server_that_is_too_old_is_named_with_its_version() -> None:
    with Comet("3.25.79") as server:
        one = exporter(server)
        verdict = ask(one, one.probe())
    assert verdict.outcome == "refused"
    assert "3.25.79" in verdict.reason
    assert "3.25.80" in verdict.reason


def test_a_page_where_json_should_be_is_another_server(server: Comet) -> None:
    one = exporter(server)
    server.next.append(Reply(200, b"<html>Log in</html>", {"content-type": "text/html"}))
    assert "COMET_URL_OVERRIDE" in ask(one, one.probe()).reason


@pytest.mark.parametrize(
    ("changed", "setting"),
    [
        ({"api_key": "wrong"}, "COMET_API_KEY"),
        ({"workspace": "nobody"}, "COMET_WORKSPACE"),
        ({"project": CLASSIC}, "COMET_PROJECT_NAME"),
    ],
)
def test_a_wrong_setting_is_named_and_nothing_is_set_aside(
    server: Comet, changed: dict[str, str], setting: str
) -> None:
    one = exporter(server, **changed)
    (request,) = one.requests([call()])
    verdict = ask(one, request)
    assert (verdict.outcome, setting in verdict.reason) == ("refused", True)


def llm_request(one: CometExporter, calls: int) -> Request:
    (request,) = one.requests([call(f"{n:016x}", trace_id=f"{n + 1:032x}") for n in range(calls)])
    return request


@pytest.mark.parametrize(("calls", "outcome"), [(2, "split"), (1, "rejected")])
def test_one_bad_experiment_does_not_hold_up_its_batch(server: Comet, calls: int, outcome: str) -> None:
    one = exporter(server)
    request = llm_request(one, calls)
    keys = [entry["experimentKey"] for entry in json.loads(request.body)]
    good, bad = (
        {"status": 200, "content": {}},
        {"status": 400, "content": {"msg": "too long", "sdk_error_code": 1}},
    )
    server.next.append(Reply(200, json.dumps(dict.fromkeys(keys[1:], good) | {keys[0]: bad}).encode()))
    verdict = ask(one, request)
    assert (verdict.outcome, "too long" in verdict.reason) == (outcome, True)


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply(200, b"{}"), "retry"),
        (Reply(500, b"<html>oops</html>"), "retry"),
        (Reply(400, json.dumps({"sdk_error_code": 90999}).encode()), "delivered"),
        (Reply(400, json.dumps({"sdk_error_code": NOT_LLM}).encode()), "refused"),
        (Reply(413, b"{}"), "split"),
    ],
)
def test_answers_are_judged_by_what_they_mean(server: Comet, reply: Reply, outcome: str) -> None:
    one = exporter(server)
    server.next.append(reply)
    assert ask(one, llm_request(one, 1)).outcome == outcome


def test_what_was_deleted_there_holds_nothing_up(server: Comet) -> None:
    one = exporter(server)
    requests = one.requests([attribution(trace_id=TRACE)])
    server.next += [Reply(404, b'{"msg": "no such experiment"}')] * len(requests)
    assert {ask(one, request).outcome for request in requests} == {"rejected"}


# Configuration


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if importlib.util.find_spec("comet_ml") is None:  # importing it would change this process
        pytest.skip("comet_ml is not installed")
    for name in ("API_KEY", "WORKSPACE", "PROJECT_NAME", "URL_OVERRIDE", "CONFIG"):
        monkeypatch.delenv(f"COMET_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_settings_are_those_that_comet_ml_reads(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".comet.config").write_text(
        "[comet]\napi_key = from-file\nworkspace = filed\nproject_name = p\nurl_override = "
        "https://comet.example/clientlib/\n"
    )
    monkeypatch.setenv("COMET_API_KEY", "from-environment")
    made = make(parse_address("comet://"))
    assert made.settings == CometSettings("from-environment", "filed", "p", "p-runs", "https://comet.example")
    assert made.name == "comet://filed/p"


def test_the_address_wins_over_the_configuration(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMET_API_KEY", "k")
    monkeypatch.setenv("COMET_PROJECT_NAME", "other")
    made = make(parse_address("comet://my%20team/chat?runs=trials"))
    assert made.settings == CometSettings("k", "my team", "chat", "trials", "https://www.comet.com")


def test_no_key_and_an_address_without_scheme_are_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="COMET_API_KEY"):
        make(parse_address("comet://team/demo"))
    monkeypatch.setenv("COMET_API_KEY", "k")
    monkeypatch.setenv("COMET_URL_OVERRIDE", "comet.example")
    with pytest.raises(ConfigurationError, match="COMET_URL_OVERRIDE"):
        make(parse_address("comet://"))


def test_nothing_is_read_where_environment_and_address_say_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("COMET_API_KEY", "k")
    monkeypatch.setenv("COMET_URL_OVERRIDE", "http://comet.example:8080/clientlib/")
    found = make(parse_address("comet://team/demo")).settings
    assert found == CometSettings("k", "team", "demo", "demo-runs", "http://comet.example:8080")


def test_comet_ml_is_not_imported_into_the_host(home: Path) -> None:
    code = (
        "import sys; from llm_trace.exporters.comet import make; from llm_trace.exporters.protocol import "
        "parse_address;"
        "hook = sys.excepthook; make(parse_address('comet://a/b')); assert sys.excepthook is hook;"
        "print([m for m in sys.modules if m.startswith('comet_ml')])"
    )
    environment = {"COMET_API_KEY": "k", "HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_without_comet_ml_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'llm-trace\[comet\]'"):
        make(parse_address("comet://team/demo"))
