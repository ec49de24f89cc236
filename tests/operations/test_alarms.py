"""Alarms are kept, reach their targets once, and never hold up who raises them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import llm_trace
from llm_trace.errors import ConfigurationError
from llm_trace.operations import alarms
from llm_trace.operations.alarm_targets import read_target
from llm_trace.operations.alarms import Alarm, AlarmDelivery, send_alarm
from llm_trace.operations.log import Operation, read_operations
from tests.helpers.loopback import Loopback, Reply

ALARM = Alarm(
    subject="errors ask", text="The rate of errors rose “a lot”.", key="one", details={"after": 0.5}
)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    forget()


def forget() -> None:
    """Be another process: what this one has sent is known from the store alone."""
    alarms._submitted.clear()


def read_log(path: Path) -> list[Operation]:
    with llm_trace.open_store(path) as store:
        return read_operations(store, kind="alarm")


def list_states(path: Path) -> list[str]:
    return [operation.body["state"] for operation in read_log(path)]


def test_a_webhook_gets_an_alarm_as_json_and_the_store_keeps_it(path: Path) -> None:
    with Loopback() as server:
        (delivery,) = send_alarm(ALARM, [f"{server.url}/hook?key=hunter2"], store=path).wait(60)
        (request,) = server.received
    assert delivery.state == "sent"
    assert request.method == "POST"
    assert request.json() == {
        "source": "llm-trace",
        "subject": "errors ask",
        "text": "The rate of errors rose “a lot”.",
        "key": "one",
        "details": {"after": 0.5},
    }
    raised, sending, sent = (operation.body for operation in read_log(path))
    assert raised == {"state": "raised", "key": "one", "text": ALARM.text, "details": {"after": 0.5}}
    assert (sending["state"], sent["state"]) == ("sending", "sent")
    assert "hunter2" not in json.dumps([sending, sent, delivery.model_dump()])


def test_the_same_alarm_is_never_sent_twice(path: Path) -> None:
    with Loopback() as server:
        hook = f"{server.url}/hook"
        first = send_alarm(ALARM, [hook], store=path).wait(60)
        again = send_alarm(ALARM, [hook], store=path).wait(60)
        forget()
        later = send_alarm(ALARM, [hook], store=path).wait(60)
        another = send_alarm(ALARM.model_copy(update={"key": "two"}), [hook], store=path).wait(60)
        assert len(server.received) == 2
    assert [d.state for d in (*first, *again, *later, *another)] == ["sent", "already", "already", "sent"]


def test_of_several_processes_one_sends(path: Path) -> None:
    program = (
        "import sys; from llm_trace.operations.alarms import Alarm, send_alarm\n"
        "alarm = Alarm(subject='errors ask', text='t', key='one')\n"
        "print(send_alarm(alarm, [sys.argv[1]], store=sys.argv[2]).wait(60)[0].state)"
    )
    with Loopback() as server:
        arguments = [sys.executable, "-c", program, f"{server.url}/hook", str(path)]
        processes = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        states = [process.communicate(timeout=120)[0].strip() for process in processes]
        assert len(server.received) == 1
    assert states.count("sent") == 1
    assert set(states) <= {"sent", "already", "unknown"}


def test_a_webhook_that_hangs_blocks_neither_the_program_nor_other_targets(path: Path) -> None:
    with Loopback(lambda _: "hang") as server, Loopback() as other:
        sending = send_alarm(ALARM, [f"{server.url}/hook", f"{other.url}/hook"], store=path, timeout=600)
        deadline = time.monotonic() + 60
        while (states := [d.state for d in sending.wait(0)]) == ["pending", "pending"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert states == ["pending", "sent"]


def test_a_webhook_that_never_answers_has_failed_after_three_tries(path: Path) -> None:
    with Loopback(lambda _: "hang") as server:
        (hung,) = send_alarm(ALARM, [f"{server.url}/hook"], store=path, timeout=0.2).wait(60)
    assert (hung.state, hung.detail) == ("failed", "ReadTimeout after 3 tries")


def test_a_failed_alarm_is_sent_when_it_is_raised_again(path: Path) -> None:
    with Loopback() as server:
        server.next.append(Reply(404))
        hook = f"{server.url}/hook"
        (failed,) = send_alarm(ALARM, [hook], store=path).wait(60)
        assert (failed.state, failed.detail) == ("failed", "it answered 404")
        assert [d.state for d in send_alarm(ALARM, [hook], store=path).wait(60)] == ["sent"]
    assert list_states(path) == ["raised", "sending", "failed", "sending", "sent"]


def test_a_server_that_is_busy_or_tears_the_connection_down_is_asked_again(path: Path) -> None:
    with Loopback() as server:
        server.next.extend([Reply(503), "reset"])
        (delivery,) = send_alarm(ALARM, [f"{server.url}/hook"], store=path).wait(60)
        assert len(server.received) == 1
    assert delivery.state == "sent"


def test_what_a_process_died_over_is_not_sent_again_and_said(path: Path) -> None:
    with Loopback() as server:
        hook = f"{server.url}/hook"
        with llm_trace.operations.OperationLog(path) as log:
            log.append("alarm", ALARM.subject, {"state": "raised", "key": "one", "text": "t", "details": {}})
            name = read_target(hook).name
            log.append("alarm", ALARM.subject, {"state": "sending", "key": "one", "target": name})
        assert [d.state for d in send_alarm(ALARM, [hook], store=path).wait(60)] == ["unknown"]
        assert server.received == []


def test_a_command_gets_the_alarm_without_a_shell(path: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen $(touch pwned).json"
    program = "import os,sys; open(sys.argv[1],'w').write(sys.stdin.read()+os.environ['LLM_TRACE_ALARM'])"
    target = f"command:{sys.executable} -c \"{program}\" '{seen}'"
    alarm = ALARM.model_copy(update={"text": "$(touch pwned); `id`"})
    assert [d.state for d in send_alarm(alarm, [target], store=path).wait(60)] == ["sent"]
    message, end = json.JSONDecoder().raw_decode(seen.read_text())
    assert message["text"] == seen.read_text()[end:] == "$(touch pwned); `id`"
    assert not Path("pwned").exists()


@pytest.mark.parametrize(
    ("code", "timeout", "detail"),
    [
        ("import sys; sys.exit('no such pager')", 60, "it left with 1: no such pager"),
        ("import time; time.sleep(600)", 0.3, "it ran longer than 0.3 s and was ended"),
    ],
    ids=["fails", "hangs"],
)
def test_a_command_that_fails_or_hangs_is_said(path: Path, code: str, timeout: float, detail: str) -> None:
    sending = send_alarm(ALARM, [f'command:{sys.executable} -c "{code}"'], store=path, timeout=timeout)
    (delivery,) = sending.wait(60)
    assert (delivery.state, delivery.detail) == ("failed", detail)


def test_a_target_that_hung_holds_up_no_second_alarm_and_is_tried_again_later(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = tmp_path / "tries"
    code = f"import time; open('{tries}', 'a').write('x'); time.sleep(60)"
    target = f'command:{sys.executable} -c "{code}"'
    begun = [
        send_alarm(ALARM.model_copy(update={"key": str(key)}), target, store=path, timeout=2.0)
        for key in range(20)
    ]
    (first,), *others = [sending.wait(60) for sending in begun]
    assert first.detail == "it ran longer than 2 s and was ended"
    assert {delivery.detail for (delivery,) in others} == {
        "it hung a moment ago and is tried again 60 s after that"
    }
    assert tries.read_text() == "x"
    assert list_states(path).count("raised") == 20
    monkeypatch.setattr(alarms, "REST_S", 0.0)
    worker = alarms._workers.pop(first.target)
    assert worker.is_alive()
    (again,) = send_alarm(ALARM.model_copy(update={"key": "7"}), target, store=path, timeout=2.0).wait(60)
    assert (again.state, tries.read_text()) == ("failed", "xx")


def test_what_a_target_could_not_take_is_made_plain(path: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen.json"
    program = "import os, sys; open(sys.argv[1], 'w').write(os.environ['LLM_TRACE_ALARM'] + sys.stdin.read())"
    odd = ALARM.model_copy(update={"text": "half \ud83d" + "x" * 3_000_000, "details": {"p": float("nan")}})
    sending = send_alarm(odd, [f"command:{sys.executable} -c \"{program}\" '{seen}'"], store=path)
    assert [delivery.state for delivery in sending.wait(60)] == ["sent"]
    text, _, rest = seen.read_text().partition("{")
    assert text == "half ?" + "x" * 9_994
    assert json.loads("{" + rest)["details"] == {"p": "NaN"}


def test_a_command_is_done_when_it_leaves_whatever_it_began(path: Path, tmp_path: Path) -> None:
    number = tmp_path / "pid"
    code = (
        "import subprocess, sys; left = subprocess.Popen([sys.executable, '-c', 'import time; "
        "time.sleep(600)']); open(sys.argv[1], 'w').write(str(left.pid))"
    )
    target = f'command:{sys.executable} -W ignore -c "{code}" {number}'
    try:
        (delivery,) = send_alarm(ALARM, [target], store=path, timeout=60).wait(90)
        assert (delivery.state, delivery.detail) == ("sent", None)
    finally:
        os.kill(int(number.read_text()), signal.SIGKILL)


@pytest.mark.parametrize(
    "target", ["hooks.example.com", "https://", "command:", "command:no-such-pager-77", "a b://c", ""]
)
def test_a_target_that_means_nothing_is_refused_at_once(path: Path, target: str) -> None:
    with pytest.raises(ConfigurationError, match="target|program"):
        send_alarm(ALARM, [target], store=path)
    assert not path.exists()


def test_without_a_target_an_alarm_is_kept_once(path: Path) -> None:
    assert send_alarm(ALARM, store=path).wait(60) == (AlarmDelivery(target="store", state="sent"),)
    forget()
    send_alarm(ALARM, store=path).wait(60)
    assert list_states(path) == ["raised"]


def test_a_store_that_cannot_be_written_does_not_hold_an_alarm_back(tmp_path: Path) -> None:
    path = tmp_path / "desk.duckdb"
    (tmp_path / "desk.duckdb.spool").write_text("a file where the folder should be")
    with Loopback() as server:
        assert [d.state for d in send_alarm(ALARM, [f"{server.url}/hook"], store=path).wait(60)] == ["sent"]
        assert len(server.received) == 1
    (kept,) = send_alarm(ALARM, store=path).wait(60)
    assert kept.state == "failed"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_apprise_takes_what_it_knows(path: Path) -> None:
    pytest.importorskip("apprise")
    with Loopback() as server:
        (delivery,) = send_alarm(ALARM, [f"json://{server.address}/x"], store=path).wait(60)
        (request,) = server.received
    assert delivery.state == "sent"
    assert request.json()["message"] == ALARM.text


def test_threads_that_raise_one_alarm_at_once_send_it_once(path: Path) -> None:
    with Loopback() as server:
        hook = f"{server.url}/hook"
        barrier = threading.Barrier(8)

        def raise_it() -> None:
            barrier.wait()
            send_alarm(ALARM, [hook], store=path).wait(60)

        threads = [threading.Thread(target=raise_it) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.received) == 1


def test_an_alarm_without_a_subject_is_refused(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="an alarm has the name ''"):
        send_alarm(ALARM.model_copy(update={"subject": ""}), store=path)
