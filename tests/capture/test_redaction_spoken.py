"""Passwords, keys and codes that a sentence tells are masked; sentences about them are not."""

from __future__ import annotations

import re

import pytest

import llm_trace
from llm_trace import Redaction, trace
from tests.conftest import Recorded

MASK = "[redacted]"


@pytest.mark.parametrize(
    "text",
    [
        "My password is hunter2",
        "the password: hunter2, please",
        "Your new password is: `hunter2`!",
        "the password of the main database is 'hunter2'.",
        "My password's hunter2 now",
        "Das Passwort lautet hunter2",
        "mi contraseña es hunter2",
        "le mot de passe est hunter2",
        "PASSWORD IS hunter2",
        "pwd: hunter2",
        "The password was changed to hunter2",
        "change my password to hunter2 and log out",
        "Log in with the user ann and password hunter2",
        "the password: tr0ub4dor&3#x ok",
        "password: tr0ub4dor&3#x ok",
        "our API key is 0123abcd4567",
        "The access token for the test system is **0123abcd4567**",
    ],
)
def test_a_password_or_key_that_a_sentence_tells_is_masked(text: str) -> None:
    secret = next(word for word in ("hunter2", "tr0ub4dor&3#x", "0123abcd4567") if word in text)
    assert Redaction()(text) == text.replace(secret, MASK)


@pytest.mark.parametrize(
    "text", ["Your verification code is 4711-0815.", "my PIN for the door is 4711", "One-time code: 471 108"]
)
def test_a_code_that_a_sentence_tells_is_masked(text: str) -> None:
    assert Redaction()(text) == re.sub(r"\d[\d \-]*\d", MASK, text)


@pytest.mark.parametrize(
    "text",
    [
        "my password is wrong", "The password is 8 characters long", "the password is 12-characters-long",
        "the password was sha256-hashed and is base64", "change my password to something longer",
        "log in with your password first", "password for the 2nd time: is it wrong?",
        "Forgot password? Click2go",
        "the error code is 4040", "my zip code is 12345", "pin is 12", "the secret key is under the mat",
        "the access token is the first one", "set the password to get_password2(user)",
        "a compassword is hunter2",
    ],
)  # fmt: skip
def test_sentences_about_passwords_and_codes_are_left_alone(text: str) -> None:
    assert Redaction()(text) == text


def test_a_told_password_in_pieces_of_a_stream_is_masked(recorded: Recorded) -> None:
    llm_trace.configure(recorded.path, redact=True)
    pieces = ["My pass", "word is hun", "ter2, thanks"]
    list(trace(lambda: iter(pieces))())
    call = recorded.one()
    assert call.output == f"My password is {MASK}, thanks"
    (row,) = recorded.sql("SELECT rebuild FROM calls").fetchall()
    assert "ter2" not in str(row)
