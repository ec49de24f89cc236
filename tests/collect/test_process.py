"""The receiver as a process of its own: a full disk, and what its command line does."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from tests.conftest import Recorded
from tests.helpers.cli_toys import ROOT, invoke, start

FULL = """
import json, resource, signal, sys
from pathlib import Path
from llm_trace.capture.values import ValueEncoder
from llm_trace.collect.receiver import Receiver, SpoolFullError
from llm_trace.imports.otlp import iter_spans
from llm_trace.spool.paths import get_spool_dir
from llm_trace.spool.writer import SpoolWriter
from tests.helpers.otlp_toys import export, span

def said(n):
    asked = [{"role": "user", "parts": [{"type": "text", "content": f"{n}: " + "please " * 50}]}]
    return {"key": "gen_ai.input.messages", "value": {"stringValue": json.dumps(asked)}}

spool = SpoolWriter(get_spool_dir(Path(sys.argv[1])))
receiver = Receiver(spool, ValueEncoder())
body = export(*(span(n, attributes=[*span()["attributes"], said(n)]) for n in range(1, 41)))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
for _ in range(3):
    try:
        receiver.take(iter_spans(body))
    except SpoolFullError:
        print("full")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(receiver.take(iter_spans(body)).spans, dict(spool.lost))
"""


def test_what_a_full_disk_refused_is_whole_when_the_sender_tries_again_and_was_never_lost(
    recorded: Recorded,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(recorded.path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout.splitlines() == ["full", "full", "full", "40 {}"]
    assert done.stderr.count("cannot write") == 1
    calls = recorded.calls()
    assert [call.messages_in[0].text.partition(":")[0] for call in calls] == [str(n) for n in range(1, 41)]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_command_takes_a_trace_and_ends_well_with_all_of_it_in_the_store(
    recorded: Recorded, ending: signal.Signals
) -> None:
    command = ("collect", "--port", "0", "--store", str(recorded.path))
    with start(*command, LLM_TRACE_COLLECT_TOKEN="s3cret") as process:
        assert process.stderr is not None
        url = process.stderr.readline().split()[0]
        exporter = OTLPSpanExporter(f"{url}/v1/traces", headers={"Authorization": "Bearer s3cret"})
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(exporter))
        tracer = provider.get_tracer("desk")
        with tracer.start_as_current_span("handle"):
            for number in range(20):
                attributes: dict[str, str | int] = {
                    "gen_ai.request.model": "gpt-4o",
                    "gen_ai.usage.input_tokens": number,
                }
                with tracer.start_as_current_span("chat", attributes=attributes):
                    pass
        provider.shutdown()
        process.send_signal(ending)
        assert process.wait(60) == 0
        assert "Traceback" not in process.stderr.read()
    *chats, root = recorded.calls()  # the newest first
    assert (root.name, root.kind, root.status) == ("handle", "chain", "ok")
    assert [call.usage and call.usage.input_tokens for call in chats] == list(range(19, -1, -1))
    assert {call.parent_id for call in chats} == {root.span_id}


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_the_command_does_not_listen_beyond_this_machine_without_a_token(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.delenv("LLM_TRACE_COLLECT_TOKEN", raising=False)
    result = invoke(recorded.path, "collect", "--host", host, "--port", "0")
    assert result.exit_code == 1
    assert "lets other machines in: give a --token" in " ".join(result.stderr.split())
    assert not recorded.path.exists()
