"""Archives: what comet_ml itself uploads from them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import llm_trace
from llm_trace.exporters.comet.additions import run_key
from llm_trace.exporters.comet.archive import write_archives
from tests.helpers.cli_toys import invoke
from tests.helpers.standins.comet import KEY, Comet
from tests.helpers.standins.sending import ROOT, START_NS, TRACE, attribution, call, run, score

COMMAND = Path(sys.executable).with_name("comet")
EVENTS = [
    call(input={"prompt": "Say <hi>"}, output="Hi Ann!", tags=["a"], metadata={"topics": ["x", "y"]}),
    attribution(),
    score("helpful", 1.0),
    run(end_ns=START_NS + 10**9),
]


def upload(server: Comet, paths: list[Path], home: Path) -> str:
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(home), "COMET_API_KEY": KEY,
        "COMET_ERROR_TRACKING_ENABLE": "0", "COMET_URL_OVERRIDE": f"{server.url}/clientlib/",
    }  # fmt: skip
    command = [str(COMMAND), "upload", *map(str, paths)]
    done = subprocess.run(
        command, env=environment, cwd=home, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.skipif(not COMMAND.exists(), reason="comet_ml is not installed")
def test_comet_upload_takes_them_and_finds_everything(tmp_path: Path) -> None:
    paths = write_archives(EVENTS, tmp_path / "out", workspace="team", project="demo")
    with Comet() as server:
        said = upload(server, [*paths, paths[0]], tmp_path)  # one comes twice
        trace, of_run = server.experiments[TRACE], server.experiments[run_key("b" * 16)]
    assert "ERROR" not in said
    assert (trace.project, trace.tags[:1], len(server.experiments)) == ("demo", ["a"], 2)
    assert trace.metrics == {"chain_duration": 250.0, "helpful": 1.0}
    assert (trace.parameters["topics"], trace.parameters["attribution.verdict"]) == (["x", "y"], "ok")
    assert json.loads(trace.files["comet_llm_data.json"])["chain_outputs"] == {"output": "Hi Ann!"}
    assert b"&lt;hi&gt;</span>" in trace.files[f"attribution-{ROOT}-occlusion.html"]
    assert (of_run.parameters, of_run.others["Name"]) == (
        {"temperature": 0.5, "model.name": "tiny"},
        "first try",
    )
    assert of_run.times == (START_NS // 10**6, START_NS // 10**6 + 1000)


def test_the_same_events_give_the_same_bytes(tmp_path: Path) -> None:
    first = write_archives(EVENTS, tmp_path / "a")
    second = write_archives(EVENTS, tmp_path / "b")
    assert [p.name for p in first] == [f"{TRACE}.zip", f"{run_key('b' * 16)}.zip"]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_export_writes_whole_traces_and_runs_with_their_prompts(tmp_path: Path) -> None:
    store, out = tmp_path / "t.duckdb", tmp_path / "out"
    llm_trace.configure(store, record_env=False)
    greeting = llm_trace.Prompt("greeting", "Say hi to {name}")

    @llm_trace.trace(kind="llm", prompt=greeting)
    def ask(prompt: str) -> str:
        llm_trace.log_score("helpful", 1.0)
        return "Hi"

    with llm_trace.start_run("first", {"temperature": 0.5}) as begun:
        ask(greeting.format(name="Ann"))
    llm_trace.shutdown()
    done = invoke(store, "export", "--to", "comet-archive", "--out", str(out), "--kind", "llm")
    assert (done.exit_code, "2 archives" in done.stderr) == (0, True), done.output
    files = {path.name for path in out.iterdir()}
    assert f"{run_key(begun.id)}.zip" in files
    (trace,) = files - {f"{run_key(begun.id)}.zip"}
    with zipfile.ZipFile(out / trace) as archive:
        said = [json.loads(line) for line in archive.read("messages.json").splitlines()]
        asset = json.loads(archive.read("file-0"))
    assert {"helpful"} <= {m["payload"]["metric"]["metricName"] for m in said if m["type"] == "metric_msg"}
    assert asset["chain_inputs"]["prompt_template"] == "Say hi to {name}"
    assert invoke(store, "export", "--to", "comet-archive").exit_code == 2


def test_every_message_fits_comets_own_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMET_API_KEY", KEY)
    schemas = pytest.importorskip("comet_ml.schemas")

    metadata = {
        "a": [1, "x", None],
        "b": [{"c": 1}],
        "d": [[1], [2]],
        "e": [],
        "two\nlines": "f\ng",
        "h": {"i": [{"j": 2}]},
    }
    events = [
        call(metadata=metadata, tags=["two\nlines"]),
        score("two\nlines", 1.0),
        run(end_ns=START_NS, tags=["x\ny"]),
    ]
    checks = {
        "parameter_msg": schemas.get_parameter_msg_validator(),
        "metric_msg": schemas.get_metric_msg_validator(),
        "log_other": schemas.get_log_other_msg_validator(),
        "file_upload": schemas.get_upload_msg_validator(),
    }
    for path in write_archives(events, tmp_path):
        with zipfile.ZipFile(path) as archive:
            schemas.get_experiment_file_validator().validate(json.loads(archive.read("experiment.json")))
            for line in archive.read("messages.json").splitlines():
                message = json.loads(line)
                checks[message["type"]].validate(message["payload"])
