"""Attribution in the background while the store does not answer: requests wait, none is lost silently."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import llm_trace
from llm_trace import background
from llm_trace.attribution.policy.policy import AttributionPolicy, Hook
from llm_trace.attribution.policy.queue import Queue, get_queue_folder
from llm_trace.capture.sampling import Sample
from llm_trace.examination import examine
from llm_trace.record import Attribution, Call
from llm_trace.spool.paths import get_spool_dir
from llm_trace.stores.locks import Deadline, lock_path
from tests.conftest import Recorded
from tests.helpers.question_toys import PROMPT, run
from tests.helpers.spool_toys import HandWriter, span

POLICY = AttributionPolicy(model="m", method="occlusion", mode="background")


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start no process: the tests are the worker, and an attribution costs nothing."""

    def attribution(_: Hook, call: Call) -> Attribution:
        return run(method="occlusion").model_copy(update={"span_id": call.span_id})

    monkeypatch.setattr(Hook, "_explain", attribution)
    monkeypatch.setattr(background, "launch_worker", lambda store, gpu: None)
    yield
    background.stop()


def serve(path: Path) -> bool:
    return background.serve_requests(path, timeout=0.01, poll_s=0.001, linger_s=0.003)


def ask_once(path: Path) -> None:
    """Make a call that has a price and is to be explained."""
    llm_trace.configure(path, attribution=POLICY)

    @llm_trace.trace(kind="llm", model="gpt-4o")
    def ask(prompt: str) -> str:
        llm_trace.update_current_call(usage={"input_tokens": 3, "output_tokens": 1})
        return "yes"

    ask(PROMPT)
    llm_trace.shutdown()


def request(path: Path, *span_ids: str) -> None:
    host = background.Requests(path)
    for span_id in span_ids:
        host.add(POLICY, span_id)
    host.close()


def list_explained(recorded: Recorded) -> list[tuple[str, str]]:
    return sorted(recorded.sql("SELECT span_id, status FROM attributions").fetchall())


@contextlib.contextmanager
def hold_the_store(path: Path) -> Iterator[None]:
    with lock_path(get_spool_dir(path) / "turn.lock", Deadline(1)):
        yield


@contextlib.contextmanager
def damage_the_store(path: Path) -> Iterator[None]:
    path.write_bytes(b"no database" * 1000)
    yield
    path.unlink()


@contextlib.contextmanager
def name_no_prices(path: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_TRACE_PRICES", str(path.with_name("absent.yaml")))
        yield


@contextlib.contextmanager
def fill_the_disk(path: Path) -> Iterator[None]:
    llm_trace.open_store(path).close()
    ask_once(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llm_trace.stores.catch_up.is_writable", lambda database: False)
        yield


@pytest.mark.parametrize(
    "spoil", [hold_the_store, damage_the_store, name_no_prices, fill_the_disk], ids=lambda f: f.__name__
)
def test_requests_wait_while_the_store_does_not_answer(
    recorded: Recorded, spoil: object, caplog: pytest.LogCaptureFixture
) -> None:
    assert callable(spoil)
    ask_once(recorded.path)
    with spoil(recorded.path):
        assert serve(recorded.path)
        state = background.read_state(recorded.path)
    assert len([r for r in caplog.records if "explains no calls until the store answers" in r.message]) == 1
    calls = len(recorded.calls())
    assert (state.waiting, state.absent, state.unreadable) == (calls, 0, 0)
    assert state.waits_for
    assert serve(recorded.path)
    assert list_explained(recorded) == sorted((c.span_id, "ok") for c in recorded.calls())
    assert background.read_state(recorded.path) == background.BackgroundState()


def test_a_request_waits_with_the_events_of_a_trace_that_may_be_kept(recorded: Recorded) -> None:
    llm_trace.configure(recorded.path, attribution=POLICY, sample=Sample(0.0, keep_errors=True))

    @llm_trace.trace(kind="llm")
    def ask(prompt: str) -> str:
        return "yes"

    @llm_trace.trace
    def work(fails: bool) -> None:
        ask(PROMPT)
        assert background.read_state(recorded.path).waiting == 0
        if fails:
            raise ValueError("no")

    work(False)
    assert background.read_state(recorded.path).waiting == 0
    with pytest.raises(ValueError, match="no"):
        work(True)
    llm_trace.shutdown()
    assert serve(recorded.path)
    assert background.read_state(recorded.path) == background.BackgroundState()
    (call,) = recorded.calls(kind="llm")
    assert list_explained(recorded) == [(call.span_id, "ok")]


def test_a_call_that_another_stands_for_is_explained_once_as_that(
    recorded: Recorded, writer: HandWriter
) -> None:
    writer.start(1, input={"prompt": PROMPT})
    writer.call(2, input={"prompt": PROMPT})
    writer.end(1, output="yes", same=[span(2)])
    request(recorded.path, span(2), span(1))
    assert serve(recorded.path)
    assert list_explained(recorded) == [(span(1), "ok")]
    assert background.read_state(recorded.path) == background.BackgroundState()


def test_a_host_that_comes_while_the_worker_leaves_is_served(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, late = Queue.release, [ask_once]

    def come_before_the_release(queue: Queue) -> None:
        if late:
            late.pop()(recorded.path)
            assert not serve(recorded.path), "the worker of the late host leaves: there is one"
        release(queue)

    ask_once(recorded.path)
    monkeypatch.setattr(Queue, "release", come_before_the_release)
    assert serve(recorded.path)
    assert list_explained(recorded) == sorted((c.span_id, "ok") for c in recorded.calls())
    assert len(recorded.calls()) == 2


def test_doctor_and_flush_say_which_requests_wait_and_which_were_given_up(recorded: Recorded) -> None:
    ask_once(recorded.path)
    request(recorded.path, "c" * 16)
    assert any(
        remark.startswith("2 calls wait to be explained by the background worker; the next program")
        for remark in examine(str(recorded.path))["remarks"]
    )
    for policy in (get_queue_folder(recorded.path) / "policies").iterdir():
        data = policy.read_bytes()
        policy.write_bytes(b"torn")
    serve(recorded.path)
    report = examine(str(recorded.path))
    assert report["problems"][0].startswith(
        "2 attributions were given up, their calls or policies could not be read: "
    )
    llm_trace.configure(recorded.path)
    assert llm_trace.flush().reasons == {
        "attributions given up, their calls or policies could not be read": 2
    }
    policy.write_bytes(data)
    request(recorded.path, "c" * 16)
    serve(recorded.path)
    assert any(
        remark.startswith("1 calls were not explained, for they are not in the store")
        for remark in examine(str(recorded.path))["remarks"]
    )
