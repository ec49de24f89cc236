"""The receiver as a process of its own: a full disk, and what its command line does."""

from __future__ import annotations

import subprocess
import sys

from tests.cli_toys import ROOT
from tests.conftest import Recorded

FULL = """
import json, resource, signal, sys
from pathlib import Path
from llm_trace.capture.values import Encoder
from llm_trace.collect.receiver import Receiver, SpoolFullError
from llm_trace.imports.otlp import spans
from llm_trace.spool.paths import spool_dir
from llm_trace.spool.writer import SpoolWriter
from tests.test_collect import export, span

def said(n):
    asked = [{"role": "user", "parts": [{"type": "text", "content": f"{n}: " + "please " * 50}]}]
    return {"key": "gen_ai.input.messages", "value": {"stringValue": json.dumps(asked)}}

spool = SpoolWriter(spool_dir(Path(sys.argv[1])))
receiver = Receiver(spool, Encoder())
body = export(*(span(n, attributes=[*span()["attributes"], said(n)]) for n in range(1, 41)))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
for _ in range(3):
    try:
        receiver.take(spans(body))
    except SpoolFullError:
        print("full")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(receiver.take(spans(body)).spans, dict(spool.lost))
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
