"""Redaction before the first write: masked secrets are nowhere, and the function sees them as before."""

from __future__ import annotations

import dataclasses
import multiprocessing
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import llm_trace
from llm_trace import Redaction, trace
from tests.conftest import Recorded
from tests.helpers.file_toys import read_all_files

SECRETS = {
    "api_key": [
        "sk-proj-abcdefghij0123456789",
        "AKIAIOSFODNN7EXAMPLE12",
        "ghp_abcdefghijklmnopqrstuvwxyz012345",
        "Bearer abcdef.ghijkl-123456",
    ],
    "email": ["ann.lee+x@mail.example.co.uk"],
    "card": ["4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005"],
    "phone": ["+1 (415) 555-2671", "030 1234 5678", "+4915112345678"],
}
HARMLESS = [
    "order 12345 of 2026-11-21, 30 days",
    "pi is 3.14159265358979",
    "4111 1111 1111 1112 is no card number",
    "the sky is blue @ noon",
    "version 1.2.3 at 10:30:45",
]


@pytest.mark.parametrize(("name", "secret"), [(n, s) for n, secrets in SECRETS.items() for s in secrets])
def test_built_in_patterns_find_secrets(name: str, secret: str) -> None:
    assert secret not in Redaction((name,))(f"it is {secret}, thanks")
    assert secret not in Redaction()(f"it is {secret}, thanks")


@pytest.mark.parametrize("text", HARMLESS)
def test_built_in_patterns_leave_harmless_text_alone(text: str) -> None:
    assert Redaction()(text) == text


@given(st.text(alphabet=st.characters(categories=["Ll", "Lu", "Zs"])))
def test_text_without_digits_or_at_is_kept(text: str) -> None:
    assert Redaction(("email", "card", "phone"))(text) == text


@dataclasses.dataclass
class Account:
    note: str
    password: str


def test_a_masked_secret_is_in_no_file(
    recorded: Recorded, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    canary = "CANARY-7261"
    llm_trace.configure(recorded.path, redact=lambda text: text.replace(canary, "***"))
    prompt = llm_trace.Prompt("p", f"{canary} {{x}}")

    @trace(kind="llm", tags=[canary], metadata={"k": canary})
    def ask(messages: list[dict[str, Any]], extra: Any) -> Any:
        with llm_trace.span("inner", input=canary) as s:
            s.set(output={canary: [canary]}, tags=[canary], metadata={canary: canary}, user=canary)
        llm_trace.update_current_call(session=canary)
        llm_trace.log_score("s", 1.0, comment=canary)
        return f"out {canary}"

    @trace
    def fails(text: str) -> None:
        raise ValueError(text)

    @trace
    def streams() -> Any:
        yield canary[:6]
        yield canary[6:]

    extra = [Account(canary, "x"), canary.encode(), {canary}, Path(canary), KeyError(canary), {(canary,): 1}]
    with (
        llm_trace.using_session(canary, user=canary, tags=[canary], metadata={"m": canary}),
        llm_trace.start_run("r", config={"c": canary}, tags=[canary]),
    ):
        assert ask([{"role": "user", "content": canary}], extra) == f"out {canary}"
        with pytest.raises(ValueError, match=canary):
            fails(prompt.format(x=canary))
        assert "".join(streams()) == canary
    assert len(recorded.calls()) == 4
    assert canary.encode() not in read_all_files(tmp_path)
    assert b"out ***" in read_all_files(tmp_path) or recorded.calls(name="ask")[0].output == "out ***"
    assert canary not in caplog.text
    assert llm_trace.flush().ok


def test_keys_mask_whole_values_and_values_are_masked_by_pattern(recorded: Recorded) -> None:
    llm_trace.configure(recorded.path, redact=True)

    @trace
    def f(config: dict[str, Any], password: str, account: Account) -> str:
        return "mail ann@example.org"

    f(
        {"api_key": {"deep": ["value"]}, "model": "m", "max_tokens": 5},
        password="hunter2",
        account=Account("n", "secret!"),
    )
    call = recorded.one()
    assert call.input["config"] == {"api_key": "[redacted]", "model": "m", "max_tokens": 5}
    assert call.input["password"] == "[redacted]"
    assert call.input["account"]["password"] == "[redacted]"
    assert call.output == "mail [redacted]"


@pytest.mark.parametrize("broken", [lambda text: 1 / 0, lambda text: None])
def test_a_redactor_that_fails_lets_nothing_through(recorded: Recorded, broken: Any) -> None:
    llm_trace.configure(recorded.path, redact=broken)
    trace(lambda text: text)("CANARY-1")
    assert recorded.one().output == "[redaction failed]"
    assert b"CANARY-1" not in read_all_files(recorded.path.parent)


def test_redact_is_called_once_per_string(recorded: Recorded) -> None:
    seen: list[str] = []

    def redact(text: str) -> str:
        seen.append(text)
        return text

    llm_trace.configure(recorded.path, redact=redact)
    trace(lambda prompt: "answer")({"key": "value"})
    assert [s for s in seen if s in ("key", "value", "answer", "prompt")] == [
        "prompt",
        "key",
        "value",
        "answer",
    ]


def test_without_content_only_metadata_is_kept(recorded: Recorded) -> None:
    llm_trace.configure(recorded.path, capture_content=False)

    @trace(kind="llm", metadata={"team": "x"})
    def ask(model: str, messages: list[dict[str, str]]) -> dict[str, Any]:
        if len(messages) > 1:
            raise ValueError("CANARY-2")
        llm_trace.update_current_call(output="CANARY-2", metadata={"k": 1})
        return {
            "choices": [{"message": {"content": "CANARY-2"}}],
            "model": "m",
            "usage": {"prompt_tokens": 1, "completion_tokens": 2},
        }

    message = {"role": "user", "content": "CANARY-2"}
    ask("m", [message])
    with pytest.raises(ValueError, match="CANARY"):
        ask("m", [message, message])
    failed, worked = recorded.calls()
    assert (worked.input, worked.output, worked.model, worked.metadata) == (
        None,
        None,
        "m",
        {"team": "x", "k": 1},
    )
    assert worked.usage is not None
    assert worked.usage.output_tokens == 2
    assert failed.error is not None
    assert (failed.error.type, failed.error.message) == ("ValueError", None)
    assert b"CANARY" not in read_all_files(recorded.path.parent)


@trace
def in_worker(text: str) -> str:
    return text


@pytest.mark.parametrize(
    ("redact", "kept"),
    [
        (("email",), "to [redacted]"),
        (re.compile("a@b.org"), None),
        (lambda text: text.replace("a@b.org", ""), None),
    ],
)
def test_a_spawned_worker_masks_alike_or_keeps_no_content(
    recorded: Recorded, redact: Any, kept: str | None
) -> None:
    llm_trace.configure(recorded.path, redact=redact)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(in_worker, ["to a@b.org"]) == ["to a@b.org"]
    assert recorded.one().output == kept
    assert b"a@b.org" not in read_all_files(recorded.path.parent)
