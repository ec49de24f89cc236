"""Record what the real clients of Comet and Opik send, against the stand-ins of this folder's neighbour.

    python -m tests.recorded.record comet_llm PYTHON      comet_llm 2.2.7 with comet_ml 3.49.0 in an
    environment of its own python -m tests.recorded.record comet_llm_offline PYTHON python -m
    tests.recorded.record comet_ml PYTHON       the current comet_ml python -m tests.recorded.record opik
    PYTHON           the current opik

PYTHON is the interpreter of the client's environment. The requests go to `<client>.json` here, without what
says something of the machine. tests/exporters/test_comet.py and test_opik.py send the same scenes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
KEY, WORKSPACE, PROJECT = "k" * 25, "team", "demo"
PROMPT, ANSWER = "Say hi to Ann", "Hi Ann!"
TEMPLATE, VARIABLES = "Say hi to {{name}}", {"name": "Ann"}
METADATA = {"model": "tiny", "usage": {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}}
START_S, SECONDS = 1_750_000_000.0, 0.25

_QUIET = {
    "COMET_ERROR_TRACKING_ENABLE": "0",
    "COMET_INTERNAL_SENTRY_DSN": "",
    "COMET_LOGGING_CONSOLE": "ERROR",
    "COMET_DISABLE_AUTO_LOGGING": "1",
    "COMET_RAISE_EXCEPTIONS_ON_ERROR": "1",
    "OPIK_SENTRY_ENABLE": "false",
    "OPIK_ANALYTICS_ENABLE": "false",
}
_OF_THE_MACHINE = frozenset(
    {
        "x-opik-client-id",
        "x-opik-debug-py-version",
        "user-agent",
        "host",
        "connection",
        "content-length",
        "accept",
    }
)


def chain() -> None:
    """A chain of a tool and a model call inside it."""
    import comet_llm  # type: ignore[import-not-found]

    comet_llm.start_chain(inputs={"question": "Where?"}, metadata={"user": "ann"}, tags=["c"])
    with comet_llm.Span(category="tool", inputs={"query": "Where?"}, name="look_up") as outer:
        with comet_llm.Span(
            category="llm-call", inputs={"prompt": PROMPT}, name="ask", metadata=METADATA
        ) as inner:
            inner.set_outputs({"output": ANSWER})
        outer.set_outputs({"output": ["Here"]})
    comet_llm.end_chain({"answer": "Here"})


def drive_comet_llm() -> None:
    """A lone prompt, then a chain, then feedback."""
    import comet_llm

    told = comet_llm.log_prompt(
        prompt=PROMPT,
        output=ANSWER,
        prompt_template=TEMPLATE,
        prompt_template_variables=VARIABLES,
        metadata=METADATA,
        tags=["a", "b"],
        timestamp=START_S,
        duration=SECONDS,
    )
    chain()
    comet_llm.log_user_feedback(told.id, 1)


def drive_comet_llm_offline() -> None:
    """The same prompt and chain, to the files of the offline mode."""
    import comet_llm

    comet_llm.log_prompt(
        prompt=PROMPT, output=ANSWER, prompt_template=TEMPLATE, prompt_template_variables=VARIABLES,
        metadata=METADATA, tags=["a", "b"], timestamp=START_S, duration=SECONDS,
    )  # fmt: skip
    chain()


def drive_comet_ml() -> None:
    """An experiment that runs, with everything off that looks at the machine; then one by the REST client."""
    import comet_ml

    Path("page.html").write_text("<p>hi</p>")

    running = comet_ml.Experiment(
        api_key=KEY, workspace=WORKSPACE, project_name=PROJECT, log_code=False, log_graph=False,
        auto_param_logging=False, auto_metric_logging=False, auto_output_logging=False, parse_args=False,
        log_env_details=False, log_git_metadata=False, log_git_patch=False, display_summary_level=0,
    )  # fmt: skip
    running.log_parameters({"temperature": 0.5})
    running.end()
    api = comet_ml.API(api_key=KEY, cache=False)
    experiment = comet_ml.APIExperiment(api=api, previous_experiment=running.get_key())
    experiment.log_parameter("temperature", 0.5)
    experiment.log_metric("accuracy", 0.75)
    experiment.log_other("Name", "first try")
    experiment.add_tags(["a", "b"])
    experiment.log_asset("page.html", name="page.html", ftype="asset", overwrite=True)


def drive_opik() -> None:
    """A lone model call, then a chain of a tool and a model call, one that fails, with feedback and file."""
    import opik  # type: ignore[import-not-found]

    client = opik.Opik(workspace=WORKSPACE, project_name=PROJECT, api_key=KEY)
    trace = client.trace(
        name="answer",
        input={"question": "Where?"},
        output={"answer": "Here"},
        metadata={"user": "ann"},
        tags=["a", "b"],
        thread_id="s1",
    )
    outer = trace.span(name="look_up", type="tool", input={"query": "Where?"}, output={"output": ["Here"]})
    inner = outer.span(
        name="ask", type="llm", input={"prompt": PROMPT}, output={"output": ANSWER}, model="tiny",
        provider="openai", usage={"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7},
        total_cost=0.001, metadata={"a": 1},
    )  # fmt: skip
    failed = outer.span(
        name="fail", error_info={"exception_type": "ValueError", "message": "no", "traceback": "Traceback"}
    )
    for span in (failed, inner, outer):
        span.end()
    trace.end()
    client.log_spans_feedback_scores(
        [{"id": inner.id, "name": "helpful", "value": 1.0, "reason": "yes", "project_name": PROJECT}]
    )
    client.log_traces_feedback_scores(
        [{"id": trace.id, "name": "helpful", "value": 1.0, "project_name": PROJECT}]
    )
    client.flush()
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        page.write_text("<p>hi</p>")
        client.get_attachment_client().upload_attachment(
            entity_type="span",
            entity_id=inner.id,
            file_path=str(page),
            project_name=PROJECT,
            mime_type="text/html",
        )
    client.end()


CLIENTS = {
    "comet_llm": drive_comet_llm,
    "comet_llm_offline": drive_comet_llm_offline,
    "comet_ml": drive_comet_ml,
    "opik": drive_opik,
}


def environment(name: str, url: str, home: Path) -> dict[str, str]:
    """Return the environment of a client that knows nothing but the stand-in."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("COMET_", "OPIK_"))}
    comet = {"COMET_API_KEY": KEY, "COMET_WORKSPACE": WORKSPACE, "COMET_PROJECT_NAME": PROJECT}
    offline = {"COMET_ONLINE": "0"} if name.endswith("_offline") else {}
    return own | _QUIET | comet | offline | {
        "COMET_URL_OVERRIDE": f"{url}/clientlib/",
        "OPIK_URL_OVERRIDE": f"{url}/api/",
        "HOME": str(home),
    }  # fmt: skip


WANTED = {
    "/api/isAlive/ver",
    "/api/is-alive/ping",
    "/clientlib/logger/add/run",
    "/clientlib/batch/logger/experiment/parameter",
    *(
        f"/api/rest/v2/write/experiment/{n}"
        for n in ("llm", "parameter", "metric", "log-other", "tags", "upload-asset")
    ),
    *(f"/api/v1/private/{n}/{m}" for n in ("traces", "spans") for m in ("batch", "feedback-scores")),
    *(f"/api/v1/private/attachment/{n}" for n in ("upload-start", "upload")),
}
"""The endpoints that llm_trace writes to; the rest of what a client sends is about itself and its machine."""


def main(name: str, python: str) -> None:
    from tests.helpers.standins.comet import Comet
    from tests.helpers.standins.opik import Opik

    with tempfile.TemporaryDirectory() as folder, Opik() if name == "opik" else Comet() as server:
        command = [python, str(Path(__file__).resolve()), "--drive", name]
        done = subprocess.run(
            command,
            env=environment(name, server.url, Path(folder)),
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        sys.stderr.write(done.stderr[-2000:])
        left = sorted(Path(folder).glob(".cometllm-runs/*.jsonl"))
        kept = [scrubbed(r) for r in server.received if r.path.partition("?")[0] in WANTED]
        lines = "".join(file.read_text() for file in left)
    where = HERE / (f"{name}.jsonl" if lines else f"{name}.json")
    where.write_text(lines or json.dumps(kept, indent=1, sort_keys=True) + "\n")
    print(f"{where}: {len(kept)} requests, {where.stat().st_size:,} bytes, exit {done.returncode}")


def scrubbed(request: Any) -> dict[str, Any]:
    """Return a request without headers that name the machine."""
    headers = {k: v for k, v in request.headers.items() if k not in _OF_THE_MACHINE}
    return {"method": request.method, "path": request.path, "headers": headers, "body": request.body.decode()}


if __name__ == "__main__":
    if sys.argv[1] == "--drive":
        CLIENTS[sys.argv[2]]()
    else:
        main(*sys.argv[1:3])
