"""Secrets in command lines and lists of arguments, under the names that people give them."""

from __future__ import annotations

import json

import pytest

import llm_trace
from llm_trace import Redaction, trace
from tests.conftest import Recorded

SECRET = "hunter2"
MASK = "[redacted]"

COMMAND_LINES = [
    "mysql --user ann --password hunter2 db",
    "tool -password hunter2 --token 'hunter2' --api-key=hunter2",
    "tool --pass hunter2 && tool --pw hunter2",
    "run tool --client-secret \\\n  hunter2",
    "args:\n  - --password\n  - hunter2\n  - --verbose",
    '["tool", "--password", "hunter2", "--verbose"]',
    r'{"command": "tool --password \"hunter2\" run"}',
    "curl -u ann:hunter2 https://example.org",
    "curl -su ann -uann:hunter2 -U bob:hunter2 https://example.org",
    "curl \\\n  -H 'Accept: a' \\\n  --user 'ann:hunter2' \\\n  https://example.org",
    '["curl", "-u", "ann:hunter2", "https://example.org"]',
    r'{"command": "curl --proxy-user \"ann:hunter2\" https://example.org"}',
    "http -a ann:hunter2 GET example.org",
    "sshpass -p hunter2 ssh example.org",
    "docker login -u ann -p hunter2 example.org",
    "redis-cli -h example.org -a hunter2 ping",
    "mysqldump -u root -phunter2 db",
    "mongosh -u ann -p hunter2 db",
    "mosquitto_pub -u ann -P hunter2 -t x",
    "log in as ann, password: hunter2, then go on",
    "PGPASSWORD=hunter2 psql",
]


@pytest.mark.parametrize("text", COMMAND_LINES, ids=map(str, range(len(COMMAND_LINES))))
def test_secrets_of_command_lines_are_masked_and_nothing_else(text: str) -> None:
    masked = Redaction()(text)
    assert masked == text.replace(SECRET, MASK)
    assert Redaction()(masked) == masked


PROSE = [
    "use --password to log in, or the --token flag, or --password.",
    "docker run -u 1000:1000 -p 8080:80 --user www:www image",
    "echo $x | docker login --password-stdin example.org",
    "tool --password-file /run/secrets/x --password --verbose",
    "mysql -p db",
    "curl -a ftp://example.org -o a:b",
    "curl is there | sort -u a:b",
    "- token of the tree\n- password rules",
    "the password: at least 8 characters",
]


@pytest.mark.parametrize("text", PROSE, ids=map(str, range(len(PROSE))))
def test_command_lines_without_secrets_and_prose_about_options_are_left_alone(text: str) -> None:
    assert Redaction()(text) == text


def test_arguments_of_commands_are_masked_in_lists(recorded: Recorded) -> None:
    llm_trace.configure(recorded.path, redact=True)
    trace(lambda *commands: None)(
        ["tool", "--port", 8080, "--api-key", SECRET, "--verbose"],
        ("/usr/bin/curl", "-u", f"ann:{SECRET}", "https://example.org"),
        ["- password", "no secret", "-"],
    )
    assert recorded.one().input["commands"] == [
        ["tool", "--port", 8080, "--api-key", MASK, "--verbose"],
        ["/usr/bin/curl", "-u", MASK, "https://example.org"],
        ["- password", "no secret", "-"],
    ]


NAMES = [
    "PGPASSWORD", "mypassword", "passkey", "Passwort", "contraseña", "senha", "mot_de_passe",
    "пароль", "密码", "consumer_key", "encryptionKey", "license-key", "webhook_secret",
    "appsecret", "openaiApikey", "bottoken", "otp", "verification_code", "backupCodes",
    "seed_phrase", "connection_string", "client_assertion", "_auth",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_unusual_names_of_secrets_are_known_in_data_and_in_text(name: str) -> None:
    redact = Redaction()
    assert redact.masks_value(name, SECRET)
    assert redact(json.dumps({name: SECRET}, ensure_ascii=False)) == json.dumps(
        {name: MASK}, ensure_ascii=False
    )
    assert redact(f"{name}={SECRET} n=1") == f"{name}={MASK} n=1"


@pytest.mark.parametrize(
    "name",
    [
        "primary_key", "sort_key", "cache_key", "public_key", "monkey", "keys", "session_id", "usertokens",
        "secretary", "compass", "passenger", "product_key", "pin", "stop_token", "requires_auth", "auth",
    ],
)  # fmt: skip
def test_names_that_only_look_like_those_of_secrets_are_left_alone(name: str) -> None:
    assert not Redaction().masks_key(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "value"),
        ("Name", "Value"),
        ("ParameterKey", "ParameterValue"),
        ("header", "value"),
        ("k", "v"),
    ],
)
def test_a_value_is_masked_for_the_name_that_stands_beside_it(
    recorded: Recorded, name: str, value: str
) -> None:
    llm_trace.configure(recorded.path, redact=True)
    trace(lambda item: None)({name: "DB_PASSWORD", value: SECRET})
    assert recorded.one().input["item"] == {name: "DB_PASSWORD", value: MASK}
