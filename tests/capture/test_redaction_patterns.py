"""What the built-in redaction masks: values by their form and by their name, in time linear in the text."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import llm_trace
from llm_trace import Redaction, trace
from llm_trace.capture import failures, patterns
from tests.conftest import Recorded

SECRET = "hunter2hunter2"
MASK = "[redacted]"


def headers(name: str, value: str) -> dict[str, Any]:
    """Return a header in the shapes in which frameworks keep headers."""
    return {
        "pairs": [(name, value), ("Host", "example.org")],
        "lists": [[name, value], ["Host", "example.org"]],
        "raw": [(name.lower().encode(), value.encode()), (b"host", b"example.org")],
        "pair": (name, value),
        "dict": {name: value},
        "bytes": {name.encode(): value.encode()},
        "objects": [{"name": name, "value": value}],
        "attributes": [{"key": name, "value": {"stringValue": value}}],
    }


@pytest.mark.parametrize("shape", headers("", ""))
@pytest.mark.parametrize(
    "name", ["Authorization", "Cookie", "Set-Cookie", "X-Api-Key", "Proxy-Authorization"]
)
def test_headers_are_masked_in_every_shape(recorded: Recorded, name: str, shape: str) -> None:
    llm_trace.configure(recorded.path, redact=True)
    trace(lambda request: None)(headers(name, f"Basic {SECRET}")[shape])
    call = recorded.one()
    assert SECRET not in json.dumps(call.input)
    assert MASK in json.dumps(call.input)
    assert "example.org" in json.dumps(call.input) or shape not in ("pairs", "lists", "raw")


NAMES = [
    "password", "userPassword", "dbPassword", "DB_PASSWORD", "password1", "passwords", "pwd", "apiKey",
    "api_keys", "X-Api-Key", "clientSecret", "client_secret", "secretKey", "accessToken", "refresh_token",
    "session_token", "token", "GITHUB_TOKEN", "authorization", "bearer", "cookie", "Set-Cookie",
    "AccountKey", "private_key", "credentials", "AWS_SECRET_ACCESS_KEY",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_secret_name_masks_its_value_in_data_and_in_text(name: str) -> None:
    redact, value = Redaction(), {name: SECRET, "other": "kept"}
    assert redact.masks_value(name, SECRET)
    inner = json.dumps(value)
    for text in (
        inner,
        json.dumps({"arguments": inner}),
        json.dumps([json.dumps({"a": inner})]),
        repr(value),
    ):
        masked = redact(text)
        assert masked == text.replace(SECRET, MASK)
        assert redact(masked) == masked
    assert redact(f"https://h/x?n=1&{name}={SECRET}&m=2") == f"https://h/x?n=1&{name}={MASK}&m=2"
    assert redact(f"a: b\n{name}: {SECRET}\n") == f"a: b\n{name}: {MASK}\n"
    assert redact(f"f({name}='{SECRET}', n=1)") == f"f({name}='{MASK}', n=1)"


@pytest.mark.parametrize(
    "text",
    [
        (
            '{"max_tokens": 5, "prompt_tokens": 7, "tokens": ["a"], "eos_token": "<|endoftext|>", '
            '"next_token": "understanding"}'
        ),
        '{"token": " the", "logprob": -0.1}',
        "Password: must be at least 8 characters long",
        "def login(password: str = Field(min_length=8), token: Optional[str] = None): ...",
        "    token = tokens[i]",
        "connect(password=password, api_key=None)",
        '{"api_key": null, "password": ""}',
        "the secret to a good life: friends",
        "he has basic understanding of token theory; see https://example.org:8080/a@b",
        "skateboardingchampionship and hfunctionaldependencies",
        "0.4111111111111111 and 2024-05-01 2024-05-02",
    ],
    ids=map(str, range(11)),
)
def test_names_in_prose_and_code_are_left_alone(text: str) -> None:
    assert Redaction()(text) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ('{"password": 12345, "n": 1}', '{"password": "[redacted]", "n": 1}'),
        (
            '{"credentials": {"user": "a}", "k": ["\\\\", "]"]}, "n": 1}',
            '{"credentials": "[redacted]", "n": 1}',
        ),
        ('{"password": "hunter2 and no end', '{"password": "[redacted]'),
        (
            "GET / HTTP/1.1\r\nCookie: a=b; c=d\r\nHost: h",
            "GET / HTTP/1.1\r\nCookie: [redacted]\r\nHost: h",
        ),
        (
            "curl -H 'Authorization: Basic YTpi' -H 'X-Api-Key: 77'",
            "curl -H 'Authorization: [redacted]' -H 'X-Api-Key: [redacted]'",
        ),
        (
            '[["authorization", "Basic YTpi"], ["host", "h"]]',
            '[["authorization", "[redacted]"], ["host", "h"]]',
        ),
        ("[(b'cookie', b'sid=1'), (b'host', b'h')]", "[(b'cookie', b'[redacted]'), (b'host', b'h')]"),
        ("postgres://ann:p@ss@db.example.org/x", "postgres://ann:[redacted]@db.example.org/x"),
        ("use Basic YW5uOmh1bnRlcjI= there", "use Basic [redacted] there"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----\nbye",
            "[redacted]\nbye",
        ),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz", "[redacted]"),
        (
            "to ann%40example.org or jürgen@exämple.de or bob\u200b@example.com",
            "to [redacted] or [redacted] or [redacted]",
        ),
        ("in 2024 4111 1111 1111 1111 or 3782 822463 10005", "in 2024 [redacted] or [redacted]"),
        ("key-eyJhbGciOiJI.eyJzdWIiOiIx.dozjgNryP4J3", "[redacted]"),
    ],
    ids=map(str, range(14)),
)  # fmt: skip
def test_secrets_are_masked_where_they_stand(text: str, masked: str) -> None:
    assert Redaction()(text) == masked
    assert Redaction()(masked) == masked


@dataclasses.dataclass
class Settings:
    """Masked by the names of its fields."""

    host: str
    clientSecret: str  # a name as other systems have it


def test_objects_requests_and_tool_calls_are_masked_by_name(recorded: Recorded) -> None:
    llm_trace.configure(recorded.path, redact=True)
    scope = {"type": "http", "headers": [(b"cookie", b"sid=hunter2"), (b"accept", b"*/*")]}
    call = {"function": {"name": "login", "arguments": json.dumps({"user": "ann", "password": "hunter2"})}}
    trace(lambda scope, settings, messages: None)(
        scope, Settings("h", "hunter2"), [{"role": "assistant", "content": None, "tool_calls": [call]}]
    )
    (recorded_call,) = recorded.calls()
    assert "hunter2" not in recorded_call.model_dump_json()
    assert recorded_call.input["settings"] == {
        "__type__": f"{__name__}.Settings",
        "host": "h",
        "clientSecret": MASK,
    }
    function = recorded_call.input["messages"][0]["tool_calls"][0]["function"]
    assert json.loads(function["arguments"]) == {"user": "ann", "password": MASK}


def test_names_of_spans_functions_and_runs_are_masked(recorded: Recorded) -> None:
    llm_trace.configure(recorded.path, redact=True)
    with llm_trace.start_run("mail ann@example.org"), llm_trace.span("mail bob@example.org"):
        trace(name="mail eve@example.org")(lambda: None)()
    assert {call.name for call in recorded.calls()} == {"mail [redacted]"}
    assert [run.name for run in recorded.runs()] == ["mail [redacted]"]


def test_names_of_spans_are_masked_in_the_users_tracer_provider(recorded: Recorded) -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    provider, spans = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    llm_trace.configure(recorded.path, redact=True, tracer_provider=provider)
    with llm_trace.span("mail bob@example.org"):
        pass
    (span,) = spans.get_finished_spans()
    assert "bob@" not in span.to_json()


@pytest.mark.parametrize("redact", [lambda text: "*", lambda text: text.upper()], ids=["star", "upper"])
def test_a_redactor_that_changes_every_text_loses_no_call_run_or_score(
    recorded: Recorded, redact: Any
) -> None:
    llm_trace.configure(recorded.path, redact=redact)
    with (
        llm_trace.start_run("r", config={"a": "b"}) as run,
        llm_trace.span("s", tags=["t"], metadata={"k": "v"}) as span,
    ):
        llm_trace.log_score("good", 1.0)
    call = recorded.one()
    assert (call.run, call.span_id, call.kind, call.status) == (run.id, span.span_id, "chain", "ok")
    assert [score.value for score in recorded.scores(call.span_id)] == [1.0]
    assert call.tags == (redact("t"),)
    assert call.metadata == {redact("k"): redact("v")}
    assert llm_trace.flush().ok


def test_a_slow_pattern_of_the_users_masks_the_rest_and_says_so(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patterns, "LIMIT_S", -1.0)  # over at once
    llm_trace.configure(recorded.path, redact=r"secret-\d+")
    trace(lambda text: None)("secret-1 " + "x" * 2 * patterns.WINDOW + " secret-2")
    text = recorded.one().input["text"]
    assert text == "[redacted] [redacted]" or (text.startswith("[redacted]") and text.endswith("[redacted]"))
    assert "secret" not in text
    assert any(place.startswith("a redaction pattern") for place in failures.counts)


@given(st.integers(0, 3 * patterns.WINDOW), st.text("ab ", max_size=20))
def test_a_pattern_of_the_users_finds_secrets_wherever_they_stand_in_a_long_text(
    before: int, after: str
) -> None:
    redact = Redaction([r"secret-\d+"], keys=None)
    text = "x" * before + "secret-123" + after + "y" * patterns.WINDOW + "secret-456"
    assert redact(text) == "x" * before + MASK + after + "y" * patterns.WINDOW + MASK


@pytest.mark.parametrize(
    "text",
    [
        "sk-a23456789012345",
        "hf123456789012345",
        "AKIA1234567890123456",
        "abcdeyJ8901.12345678.12345678",
        "Bearer 123456789012",
        "a@b.cc",
        "a%40b.cc",
        "4222222222222",
        "+12345678",
        "12 345678",
        "-----BEGIN PRIVATE KEY-----kept",
        "://:p@",
        "Basic YTpiYzEy",
        "(sk-a23456789012345)",
        "é.sk-a23456789012345",
    ],
)
def test_the_shortest_secret_of_each_form_is_masked(text: str) -> None:
    assert MASK in Redaction()(text)


HINTS = "-u A eyJ Bearer Basic @ 1111 PRIVATE KEY :// = password code abcdefghijklmnopqr "
"""What the quick tests look for before a pattern is tried."""
UNITS = [
    "a", "1", " ", "a.", "a-", "a@", "@", "a@a.1", "a%40", "%4", "é", "1 ", "11 ", "1111 ", "1111-", "1.",
    "(11)", "+1 ", "4111111111111112 ", "sk-", "sk", "xoxb", "AKIA", "A", "eyJ", "eyJ.", "aeyJa1.",
    "Bearer ", "Bearer  ", "Basic ", "Basic a", "://", "://a:", ":a", "a:a", "-----BEGIN ",
    "-----BEGIN A PRIVATE KEY-----", "-----END ", "PRIVATE KEY-----", "-", "password", "password:",
    "password: a", "password=", 'password="', '"password": ', '{"password": ', '{"password": {',
    '{"password": [', '\\"password\\": \\"', "password:\n", "password, ", "('password', ", "=", ":", '"',
    "\\", '\\"', "{", "[", "aB", "a_", "tokenA", "Cookie: a; ", "--password ", "--password a ",
    '--password "', '--password \\"', "-password", "- --password\n", "curl ", "curl -u a", "-u a:b ",
    "curl | ", "mysql -p", "x password: a", "x password:a1", "password is ", "password is a1",
    "password for a ", "with a b password ", "set my password to ", "p", "pin is 1", "1-", "key is ",
]  # fmt: skip


def cpu_s(work: Callable[[], object]) -> float:
    begin = time.thread_time()
    work()
    return time.thread_time() - begin


@pytest.mark.parametrize("unit", UNITS, ids=repr)
def test_redaction_takes_time_linear_in_the_text(unit: str) -> None:
    """One text costs about what 40 shorter ones cost; where a pattern were quadratic, 40 times as much."""
    redact, part, whole = Redaction(), HINTS + (unit * 1_000)[:1_000], HINTS + (unit * 40_000)[:40_000]
    redact(part)
    for _ in range(10):  # whatever else the machine does: once is enough, and no quadratic one is that quick
        many, one = cpu_s(lambda: [redact(part) for _ in range(40)]), cpu_s(lambda: redact(whole))
        if one < 10 * many:
            return
    pytest.fail(f"{one:.3f} s for a text of 40,000 characters, {many:.3f} s for 40 of 1,000")


BODY = "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4z"
PREFIXES = [
    "r8_", "pplx-", "npm_", "tvly-", "tvly-dev-", "lsv2_pt_", "lsv2_sk_", "dop_v1_", "doo_v1_", "dor_v1_",
    "ya29.", "ATATT3x", "dckr_pat_", "shpat_", "jina_", "lin_api_",
    "sbp_", "figd_", "glsa_", "pypi-", "tgp_v1_", "rubygems_",
]  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
def test_keys_of_well_known_services_are_masked(prefix: str) -> None:
    assert Redaction()(f"key {prefix}{BODY}, end") == f"key {MASK}, end"


@pytest.mark.parametrize("name", ["DB_PASS", "dbPass", "smtp_pass", "sessionid", "PHPSESSID", "OPENAI_KEY"])
def test_short_names_of_secrets_are_masked(name: str) -> None:
    assert Redaction()(f"{name}={SECRET} n=1") == f"{name}={MASK} n=1"
    assert Redaction()(json.dumps({name: SECRET})) == json.dumps({name: MASK})


def test_the_signature_of_a_url_is_masked() -> None:
    url = "https://x.blob.core.windows.net/a?sv=1&sig=AbC%2F12345678901234567%3D&x=1"
    assert Redaction()(url) == f"https://x.blob.core.windows.net/a?sv=1&sig={MASK}&x=1"


@pytest.mark.parametrize("at", ["@", "%40", "%2540", "%252540", r"\u0040"], ids=ascii)
def test_an_address_is_masked_however_its_sign_is_written(at: str) -> None:
    assert Redaction()(f"to=ann.smith{at}example.com, bye") == f"to={MASK}, bye"


@pytest.mark.parametrize(
    "text",
    [
        "npm_config_registry_url_default", "npm_lifecycle_event_2_name", "jina_embeddings_v2_base_en_long",
        "first_pass = 3", "low_pass=True", "the second pass: 12 tests", "pypi-server-configuration-options",
        "session_id=abc123", "f(sig=inspect.signature(fn))", "bypass=1", "aws_keyboard=1",
        "donut_v1_test_configuration_file", "database_passes=3", "40%2540 off at x.com",
    ],
)  # fmt: skip
def test_words_that_begin_as_keys_and_names_do_stay(text: str) -> None:
    assert Redaction()(text) == text
