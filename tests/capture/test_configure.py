"""configure, flush, shutdown, runs, prompts, the environment."""

from __future__ import annotations

import contextvars
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace import Prompt, trace
from llm_trace.errors import ConfigurationError
from tests.conftest import Recorded


@trace(kind="llm")
def ask(prompt: str) -> str:
    return "yes"


def test_flush_tells_what_became_of_everything(store: Recorded) -> None:
    ask("x")
    report = llm_trace.flush()
    assert report.ok
    assert report.destinations["spool"].delivered == 2
    assert str(report) == "spool: 2 delivered, 0 pending, 0 rejected, 0 dropped"


def test_flush_counts_what_was_lost(tmp_path: Path) -> None:
    (tmp_path / "t.duckdb.spool").write_text("in the way")
    llm_trace.configure(tmp_path / "t.duckdb")
    assert ask("x") == "yes"
    report = llm_trace.flush()
    assert not report.ok
    assert report.destinations["spool"].dropped == 2
    assert "EEXIST" in str(report)


def test_configuring_again_replaces(recorded: Recorded, tmp_path: Path) -> None:
    llm_trace.configure(recorded.path)
    ask("first")
    llm_trace.configure(tmp_path / "other.duckdb")
    ask("second")
    assert recorded.one().input == {"prompt": "first"}
    assert Recorded(tmp_path / "other.duckdb").one().input == {"prompt": "second"}
    llm_trace.shutdown()
    llm_trace.shutdown()
    assert "LLM_TRACE_STORE" not in os.environ


@pytest.mark.parametrize("sample", [1.0, 0.0], ids=["recorded", "sampled out"])
def test_what_goes_on_after_its_call_is_recorded_where_it_is_configured_now(
    recorded: Recorded, tmp_path: Path, sample: float
) -> None:
    llm_trace.configure(tmp_path / "first.duckdb", sample=sample)
    context = trace(name="outer")(contextvars.copy_context)()
    llm_trace.configure(recorded.path)
    context.run(ask, "later")
    assert recorded.one().input == {"prompt": "later"}
    assert llm_trace.flush().ok


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"fsync": "often"}, "fsync 'often'"),
        ({"sample": -1}, "-1"),
        ({"exporters": ["127.0.0.1:4318"]}, "write otlp://host:4318"),
        ({"exporters": ["jaeger://host"]}, "comet://, opik://, otlp://"),
        ({"exporters": ["otlp://:4318"]}, "has no host"),
        ({"exporters": ["otlp://host:port"]}, "has no valid port"),
        ({"exporters": ["otlp://host?gzip=true"]}, "gzip=true is no option"),
        ({"exporters": [print]}, "is no exporter"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    recorded: Recorded, settings: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named):
        llm_trace.configure(recorded.path, **settings)


def test_the_environment_gives_defaults_and_names_what_it_cannot_understand(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_TRACE_STORE", str(recorded.path))
    monkeypatch.setenv("LLM_TRACE_REDACT", "email, phone")
    monkeypatch.setenv("LLM_TRACE_MAX_STRING", "10")
    llm_trace.configure()
    ask("a@b.org")
    assert recorded.one().input == {"prompt": "[redacted]"}
    monkeypatch.setenv("LLM_TRACE_SAMPLE", "half")
    with pytest.raises(ConfigurationError, match="LLM_TRACE_SAMPLE='half'"):
        llm_trace.configure()


def test_a_program_configured_by_its_environment_alone_is_recorded(recorded: Recorded) -> None:
    code = "from llm_trace import trace\n@trace\ndef f(): return 1\nf()"
    environment = {**os.environ, "LLM_TRACE_STORE": str(recorded.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert recorded.one().name == "f"


def test_runs_hold_their_calls_and_what_they_ran_on(store: Recorded) -> None:
    with llm_trace.start_run("v1", config={"seed": 7, "k": 1}, tags=["try"]) as run:
        ask("in")
    ask("out")
    assert [c.input["prompt"] for c in store.calls(run="v1")] == ["in"]
    assert [c.input["prompt"] for c in store.calls(run=run)] == ["in"]
    assert [c.input["prompt"] for c in store.calls(run=run.id)] == ["in"]
    (kept,) = store.runs()
    assert (kept.name, kept.config, kept.tags) == ("v1", {"seed": 7, "k": 1}, ("try",))
    assert kept.end_ns is not None
    assert kept.environment is not None
    assert kept.environment.seed == 7
    packages = ((each.metadata["Name"], each.version) for each in metadata.distributions())
    assert kept.environment.packages == dict(sorted((name, version) for name, version in packages if name))
    assert kept.environment.python == sys.version.split()[0]


def test_a_configured_run_takes_the_calls_that_are_in_no_other(recorded: Recorded) -> None:
    llm_trace.configure(recorded.path, run="nightly", record_env=False)
    ask("a")
    with llm_trace.start_run("inner"):
        ask("b")
    llm_trace.shutdown()
    assert [c.input["prompt"] for c in recorded.calls(run="nightly")] == ["a"]
    assert [c.input["prompt"] for c in recorded.calls(run="inner")] == ["b"]
    assert all(run.end_ns for run in recorded.runs())


def test_prompts_know_their_variables_and_are_found_again_after_concatenation(store: Recorded) -> None:
    prompt = Prompt("greet", "Say {word} to {who.name!r:>6} {{ok}}.")
    who = type("Who", (), {"name": "Al"})()
    text = prompt.format(word="hello", who=who)
    assert text == "Say hello to   'Al' {ok}."
    assert {name: text[a:b] for name, (a, b) in text.spans.items()} == {"word": "hello", "who.name": "  'Al'"}
    ask(text)
    ask("System. " + text + " Thanks.")
    ask(f"[{text}]")
    ask("nothing of the kind")
    *with_prompt, direct = store.calls()
    assert [c.prompt.name if c.prompt else None for c in with_prompt] == [None, "greet", "greet"]
    assert direct.prompt is not None
    assert (direct.prompt.version, direct.prompt.variables["word"]) == (prompt.version, "hello")
    (version,) = store.prompts()
    assert (version.name, version.number, version.template, version.calls) == ("greet", 1, prompt.template, 3)


def test_an_edited_template_is_a_new_version(store: Recorded) -> None:
    for template in ("A {x}", "B {x}", "A {x}"):
        ask(Prompt("p", template).format(x=1))
    assert [(p.template, p.number, p.calls) for p in sorted(store.prompts(), key=lambda p: p.number)] == [
        ("A {x}", 1, 2),
        ("B {x}", 2, 1),
    ]


def test_every_store_gets_the_templates_it_saw(tmp_path: Path) -> None:
    prompt = Prompt("p", "A {x}")
    for number in range(20):  # recorders come and go, and may stand at the same address
        llm_trace.configure(tmp_path / f"{number}.duckdb")
        ask(prompt.format(x=1))
    llm_trace.shutdown()
    for number in range(20):
        (spool,) = (tmp_path / f"{number}.duckdb.spool").glob("*.jsonl")
        events = [json.loads(line) for line in spool.read_text().splitlines()]
        assert [e["template"] for e in events if e["event"] == "prompt"] == ["A {x}"]


def test_a_prompt_named_in_the_decorator_takes_its_variables_from_the_arguments(store: Recorded) -> None:
    prompt = Prompt("p", "Answer {question} briefly")

    @trace(kind="llm", prompt=prompt)
    def answer(question: str, retries: int = 1) -> str:
        return "ok"

    answer("why?")
    call = store.one()
    assert call.prompt is not None
    assert call.prompt.model_dump() == {
        "name": "p",
        "version": prompt.version,
        "variables": {"question": "why?"},
    }


@pytest.mark.parametrize("template", ["{} and {}", "{0}", "{open"])
def test_templates_without_names_are_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"name|'\}'"):
        Prompt("p", template)


def test_configuring_again_inherits_nothing_that_was_not_given(recorded: Recorded, tmp_path: Path) -> None:
    before = {name: value for name, value in os.environ.items() if name.startswith("LLM_TRACE")}
    llm_trace.configure(
        tmp_path / "other.duckdb", sample=0.0, capture_content=False, redact=["yes"], run="one", fsync="call"
    )
    llm_trace.configure(recorded.path)
    ask("x")
    call = recorded.one()
    assert (call.input, call.output, call.run, recorded.runs()) == ({"prompt": "x"}, "yes", None, [])
    llm_trace.shutdown()
    assert {k: v for k, v in os.environ.items() if k.startswith("LLM_TRACE")} == before


def test_a_cell_that_configures_with_a_function_may_run_twice(recorded: Recorded) -> None:
    for number in (1, 2):
        llm_trace.configure(recorded.path, redact=lambda text: text.replace("Ann", "[name]"))
        ask(f"question {number} of Ann")
    assert [call.input["prompt"] for call in recorded.calls()] == [
        "question 2 of [name]",
        "question 1 of [name]",
    ]


def test_what_the_user_sets_in_the_environment_meanwhile_stays(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_TRACE_REDACT", "")  # so that it is gone when the test is over
    llm_trace.configure(recorded.path, redact=["yes"])
    monkeypatch.setenv("LLM_TRACE_REDACT", "email")
    llm_trace.shutdown()
    assert os.environ["LLM_TRACE_REDACT"] == "email"


def test_a_destination_that_cannot_work_does_not_keep_calls_from_being_recorded(recorded: Recorded) -> None:
    with pytest.raises(ConfigurationError, match="jaeger"):
        llm_trace.configure(recorded.path, exporters=["jaeger://host"])
    ask("x")
    assert recorded.one().input == {"prompt": "x"}


def test_a_bad_variable_does_not_keep_a_program_from_being_recorded(recorded: Recorded) -> None:
    code = "import llm_trace\n@llm_trace.trace\ndef f(x): return 1\nf('a')\nprint(llm_trace.flush())"
    for variable, bad, kept in (
        ("SAMPLE", "half", {"x": "a"}),
        ("REDACT", "(", None),
        ("EXPORTERS", "foo://x", {"x": "a"}),
    ):
        path = recorded.path.with_name(f"{variable}.duckdb")
        environment = {**os.environ, "LLM_TRACE_STORE": str(path), f"LLM_TRACE_{variable}": bad}
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, env=environment, capture_output=True, text=True
        )
        assert bad in done.stdout, "flush says what is wrong"
        assert Recorded(path).one().input == kept


def test_a_place_that_cannot_be_written_to_never_raises_into_the_program() -> None:
    llm_trace.configure("/proc/nowhere/t.duckdb", exporters=["otlp://127.0.0.1:9"])
    assert ask("x") == "yes"
    report = llm_trace.flush()
    assert not report.ok
    assert report.destinations["spool"].dropped == 2


@pytest.mark.parametrize(
    "setting",
    [
        {"attribution": 5},
        {"tracer_provider": 5},
        {"redact": 5},
        {"capture_content": "no"},
        {"propagate_threads": "x"},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_a_setting_that_cannot_work_is_refused_and_recording_goes_on_as_before(
    store: Recorded, setting: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(setting))):
        llm_trace.configure(store.path, **setting)
    ask("still")
    assert store.one().input == {"prompt": "still"}


def test_a_store_that_is_a_folder_is_refused_and_recording_goes_on_as_before(
    store: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "calls"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    for path in (folder, str(folder), "calls", Path("calls")):
        with pytest.raises(ConfigurationError, match=r"calls' is a folder: .*calls/llm_trace\.duckdb'"):
            llm_trace.configure(path)
    ask("still")
    assert store.one().input == {"prompt": "still"}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("calls")] == ["calls"]
