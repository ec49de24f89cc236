"""Secrets known by their form: regular expressions in linear time, and what a match must pass."""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Callable, Iterator

from llm_trace.capture import failures
from llm_trace.capture.command_secrets import COMMANDS
from llm_trace.capture.spoken_secrets import CODE, CODE_PARTS, PASSWORD, PASSWORD_PARTS

_LOCAL = r"\w.+\-\u200b-\u200d\u2060\ufeff"
_DOMAIN = r"[\w\-]+(?:\.[\w\-]+)*\.[^\W\d_]{2,}"
_KEY = r"PRIVATE KEY(?: BLOCK)?-----"

# A run of characters is looked at from its start only (a lookbehind and a possessive quantifier): no pattern
# tries the same run from each of its characters.
_API_KEYS = (
    (
        r"[Sdfghjlnprstwxy](?<!\w.)(?:(?<=[spr])k|(?<=g)(?:h[opsu]|sk|ithub_pat|lpat)|(?<=h)f|(?<=x)(?:ai|ox[abprs])"
        r"|(?<=n)vapi|(?<=w)hsec|(?<=S)G|(?<=p)plx|(?<=t)vly|(?<=d)(?:o[opr]_v1|ckr_pat)|(?<=y)a29(?=\.)"
        r"|(?<=l)sv2_(?:pt|sk)|(?<=s)hp(?:at|ca|pa|ss)|(?:(?<=r)8|(?<=n)pm|(?<=j)ina|(?<=l)in_api|(?<=s)bp"
        r"|(?<=f)igd|(?<=g)lsa|(?<=p)ypi|(?<=t)gp_v1|(?<=r)ubygems)(?=[-_][A-Za-z0-9]{20}))"
        r"(?:[-_.]|(?=[A-Za-z]{0,40}\d))[A-Za-z0-9][A-Za-z0-9_\-.]{14,}"
    ),
    r"A(?<!\w.)(?:KIA|SIA|Iza|TATT3)[A-Za-z0-9_\-]{16,}=?[A-F0-9]{0,8}",
    r"(?<![A-Za-z0-9_\-])(?=[A-Za-z0-9_\-]*eyJ)[A-Za-z0-9_\-]{11,}+\.[A-Za-z0-9_\-]{8,}+\.[A-Za-z0-9_\-]{8,}+",
    r"(?:[Bb]earer|BEARER)\s+[A-Za-z0-9_\-.=+/]{12,}",
    r"(?<=[?&]sig=)[A-Za-z0-9_\-.%+/=]{16,}",
)
_TOKEN = r"[A-Za-z0-9_\-.]"
_RUN = rf"(?:{_TOKEN}{{0,16}}+[^A-Za-z0-9_\-.]+)*+{_TOKEN}{{17}}"
"""From the start of a text over its short words to the first long one."""
# What begins with a character or a class of them lets re skip to where one stands, so lookbehinds come after
# it, and `\d\d\d` is not written `\d{3}`: a repeat has no first character.
_DIGITS = r"\d{3,4}[ .\-]?\d{3,4}"
_Part = tuple[int, tuple[str, ...] | Callable[[str], object], str]
PATTERNS: dict[str, str] = {
    "private_key": rf"(?s:-----BEGIN [A-Z0-9 ]{{0,40}}{_KEY}.*?(?:-----END [A-Z0-9 ]{{0,40}}{_KEY}|\Z))",
    "url_password": r"""(?<=://)[^\s/?#@:"'<>\\]*+:(?P<secret>[^\s/?#"'<>\\]+)@""",
    "api_key": "|".join(_API_KEYS),
    "basic_auth": r"(?:[Bb]asic|BASIC)\s{1,8}(?P<secret>[A-Za-z0-9+/_\-]{8,}={0,2})",
    "command": COMMANDS,
    "password": PASSWORD,
    "code": CODE,
    "email": (
        rf"(?<![%{_LOCAL}])(?:[%{_LOCAL}]++(?:@|\\u0040)"
        rf"|(?:[{_LOCAL}]|%(?!(?:25)*40))++%(?:25)*40){_DOMAIN}"
    ),
    "card": (
        r"\d(?<!\w\d)(?<!\d\.\d)(?:\d{12,18}|\d{3}([ .\-])\d{4}\1\d{4}\1\d{1,7}|\d{3}([ .\-])\d{6}\2\d{4,5})"
        r"(?!\w)"
    ),
    "phone": (
        r"[+(\d](?<![\w.].)(?<!\d[ .\-].)"
        rf"(?:(?<=\+)(?:\d{{1,3}}[ .\-]?(?:\(\d{{2,4}}\)[ .\-]?|\d{{2,4}}[ .\-]){_DIGITS}|\d{{8,15}})"
        rf"|(?:(?<=\()\d{{2,4}}\)[ .\-]?|(?<=\d)\d{{1,3}}[ .\-]){_DIGITS})(?![ .\-]?\d)(?!\w)"
    ),
}
"""Built-in value patterns by name, in the order in which they are looked for.

`card` masks only numbers that pass the Luhn check, `basic_auth` only what decodes to `user:password`,
`command` what these commands take behind a short option, `password` and `code` what a sentence tells. Where
a pattern has a group `secret`, only that is masked.
"""

_KEY_HINTS = (re.compile(_RUN).match, ("A",), ("eyJ",), ("earer", "EARER"), ("sig=",))
PARTS: dict[str, tuple[_Part, ...]] = {
    "private_key": ((31, ("PRIVATE KEY",), PATTERNS["private_key"]),),
    "url_password": ((6, ("://",), PATTERNS["url_password"]),),
    "api_key": tuple(zip((17, 20, 29, 19, 21), _KEY_HINTS, _API_KEYS, strict=True)),
    "basic_auth": ((14, ("asic", "ASIC"), PATTERNS["basic_auth"]),),
    "command": ((9, re.compile(r"-[uUapP\-]").search, PATTERNS["command"]),),
    "password": PASSWORD_PARTS,
    "code": CODE_PARTS,
    "email": ((6, ("@", "%40", "2540", r"\u0040"), PATTERNS["email"]),),
    "card": ((13, re.compile(r"\d\d\d\d").search, PATTERNS["card"]),),
    "phone": ((9, re.compile(r"\d\d\d").search, PATTERNS["phone"]),),
}
"""Each pattern as alternatives, with the characters that a match has at least, and with a quick test of the
text: of several words one stands in a text that holds a match. Most texts are told by these two."""
DIGITS = {"password": 1, "code": 3, "card": 3, "phone": 3}
"""How many digits, next to each other but for a space or dash, a match of a pattern holds at least."""

_THREE_DIGITS = re.compile(r"\d[ \-]?\d[ \-]?\d")


def count_digits(text: str) -> int:
    """Return 3 where three digits, of any script, stand next to each other but for a space or dash, else 1
    where there may be one, else 0.
    """
    if text.isascii() and not any(map(text.__contains__, "0123456789")):
        return 0
    return 3 if _THREE_DIGITS.search(text) else 1


WINDOW = 8_192
"""Characters that a pattern of the user's sees at a time; a longer text is gone through in windows."""
OVERLAP = 2_048
"""Characters that neighbouring windows share: a longer secret may be missed where two windows meet."""
LIMIT_S = 1.0
"""Processor time that a pattern of the user's has for one text."""

MatchSpan = tuple[int, int]


class SlowPatternError(Exception):
    """A pattern of the user's has used up its time."""


def find_card(pattern: re.Pattern[str], text: str) -> Iterator[MatchSpan]:
    """Yield where payment cards stand; a number that fails the check may hold one from its next group on."""
    match = pattern.search(text)
    while match is not None:
        if _check_luhn(match[0]):
            yield match.span()
            match = pattern.search(text, match.end())
        else:
            separator = match[1] or match[2]
            start = match.end() if separator is None else text.index(separator, match.start()) + 1
            match = pattern.search(text, start)


def find_login(pattern: re.Pattern[str], text: str) -> Iterator[MatchSpan]:
    """Yield where `user:password` stands in base64, after the word `Basic`."""
    for match in pattern.finditer(text):
        if _is_login(match["secret"]):
            yield match.span("secret")


def find_all(pattern: re.Pattern[str], text: str) -> Iterator[MatchSpan]:
    """Yield where a pattern matches."""
    group = "secret" if "secret" in pattern.groupindex else 0
    for match in pattern.finditer(text):
        yield match.span(group)


def find_in_windows(
    pattern: re.Pattern[str], text: str, clock: Callable[[], float] = time.thread_time
) -> Iterator[MatchSpan]:
    """Yield where a pattern of unknown cost matches, window by window; the rest once `LIMIT_S` is over."""
    group = "secret" if "secret" in pattern.groupindex else 0
    at, size, stop = 0, len(text), clock() + LIMIT_S
    while at < size:
        end = min(at + WINDOW, size)
        match = pattern.search(text, at, end)
        if match is None:
            at = end if end == size else end - OVERLAP
        elif match.end() == end < size and match.start() > at:  # it may go on behind the window
            at = match.start()
        else:
            yield match.span(group)
            at = max(match.end(), at + 1)
        if at < size and clock() > stop:
            failures.note(
                "a redaction pattern (the rest of the text is masked)", SlowPatternError(pattern.pattern)
            )
            yield at, size
            return


_DOUBLED = str.maketrans("0123456789", "0246813579")


def _check_luhn(text: str) -> bool:
    digits = "".join(c for c in text if c.isdigit())
    if digits[0] not in "23456":  # the first digit of every card network's numbers
        return False
    return (sum(map(int, digits[-1::-2])) + sum(map(int, digits[-2::-2].translate(_DOUBLED)))) % 10 == 0


def _is_login(text: str) -> bool:
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        return ":" in decoded.decode()
    except (binascii.Error, ValueError):
        return False
