"""Names whose value is a secret, and where such values stand in texts: JSON, queries, headers, `repr`s."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

KEYS = (
    r"(?i)(?:^|[_\-. ])(?:pass(?:word|wd|phrase|code|key)s?|passw|pwd|secrets?|(?<=--)p(?:ass|w)"
    r"|[a-z0-9]{1,24}(?:passw(?:or)?d|secret|api_?key)s?"
    r"|passwort|kennwort|contrase(?:n|ñ)a|senha|mot[_\-]?de[_\-]?passe|wachtwoord|has[lł]o|heslo|l[oö]senord"
    r"|парол[ья]|密[码碼]|パスワード|비밀번호"
    r"|(?:api|access|account|aes|app|application|client|consumer|deploy|encryption|functions?|gpg|hmac|licen[cs]e"
    r"|master|pgp|private|rsa|secret|server|service|session|shared|signing|ssh|storage|subscription|wallet|webhook"
    r"|write)[_\-]?keys?"
    r"|(?:db|database|user|admin|root|smtp|mail|mysql|postgres|pg|redis|ftp|ldap|ssh)[_\-]?pass"
    r"|(?:openai|anthropic|gemini|azure|cohere|mistral|groq|deepseek|openrouter|replicate|tavily|stripe|aws)[_\-]?key"
    r"|(?-i:sessionid)|phpsessid|jsessionid|conn(?:ection)?[_\-]?str(?:ing)?|(?:seed|mnemonic|recovery)[_\-]?phrase"
    r"|[th]?otp|(?:mfa|2fa|sms|verification|recovery|backup|one[_\-]?time|two[_\-]?factor|pin)[_\-]?codes?"
    r"|authorization|(?:basic|http|proxy|registry)[_\-]?auth|(?<=^_)auth|samlresponse|client[_\-]?assertion"
    r"|code[_\-]?verifier|(?:auth|access|refresh|bearer|session|security|id|csrf|xsrf)[_\-]?tokens?|bearer"
    r"|(?:api|app|bot|device|github|gitlab|jwt|oauth|push|sas|slack)token(?=\d*$)"
    r"|(?<!bos.)(?<!eos.)(?<!pad.)(?<!unk.)(?<!sep.)(?<!cls.)(?<!mask.)(?<!stop.)(?<!next.)(?<!last.)(?<!image.)"
    r"(?<!first.)token(?=\d*$)|jwt|credentials?|cookies?|ssn|cvv|cvc"
    r"|(?:amz|goog)[_\-](?:signature|credential))\d*(?:$|[_\-. ])"
)
"""Names of keys whose whole value is masked, unless other `keys` are given."""

_MAX_NAME = 128
ANY = "*" * 32
"""A value of which nothing is known."""
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def list_spellings(name: str) -> tuple[str, ...]:
    """Return a name as it is and, where it is in camel case, with its words apart: `apiKey` is `api_Key`."""
    apart = _WORDS.sub("_", name) if name[:_MAX_NAME] != name[:_MAX_NAME].lower() else name
    return (name,) if apart == name else (name, apart)


def is_word(name: str, value: object) -> bool:
    """Return whether this is a model's token rather than a credential: `token` is the name of both."""
    if name.lower() != "token":
        return False
    return not isinstance(value, (str, bytes)) or len(value) < 8 or len(value.split()) != 1


class SecretValue(NamedTuple):
    """Where the value of a secret name stands in a text."""

    start: int
    end: int
    quote: str
    """What must stand around the mask: the text's own quotes where the value had none."""


class _Name(NamedTuple):
    """A name before a value."""

    name: str
    start: int
    quote: str
    """The quote that closes the name, with its escapes; empty where it has none."""
    match: re.Match[str]
    """What stands between name and value: `:`, `=` or, in a pair, a comma, and room."""

    @property
    def sign(self) -> str:
        return self.match[0][0]

    @property
    def spaced(self) -> bool:
        return self.match[0][-1].isspace()

    @property
    def end(self) -> int:
        return self.match.end()


_SIGN = re.compile(r"""[:=,](?<![^"'\s],)>?=?\s{0,8}""")
_REVERSED = re.compile(rf"[\w.\-]{{2,{_MAX_NAME}}}+(?![\w.\-])")
_OPENING = re.compile(r"""[bBrRuUfF]{0,2}(?P<escapes>\\*)(?P<mark>["'])""")
_TOKEN = re.compile(r"""\\*["']|[\[\](){}]|\n""")
_SCALAR = re.compile(r"[\w.+\-]+(?![\w.+\-(\[])")
_IN_QUERY = re.compile(r"""[^\s,;&#"'`<>(){}\[\]\\|]+""")
_PLAIN = re.compile(r"""[^\s,;"'`<>(){}\[\]\\|]+""")
_PASSWORD = re.compile(r"(?i)(?:pass(?:word|wd|code|phrase)|pwd|passwort|kennwort)$")
_SPOKEN = re.compile(
    r"""(?=[^\s\d]{0,64}\d)(?=[^\sA-Za-z]{0,64}[A-Za-z])[^\s,;"'`<>(){}\[\]\\|]{6,64}+(?![^\s,;.!?])"""
)
"""What a password in the middle of a line looks like: letters with digits among them."""
_LINE = re.compile(r"""[^\r\n"'\\]+""")
_HEADER = re.compile(r"(?i)(?:proxy-)?authorization|(?:set-)?cookie|x(?:-\w+)+")
_HEADER_NAME = re.compile(r"(?i)(?:proxy-)?authorization|cookie|\w+(?:-\w+)+")
_NOTHING = frozenset(["null", "None", "nil", "undefined", "true", "false", "True", "False"])
_TYPE = re.compile(r"(?:Optional|[Ss]tr(?:ing)?|bytes|int|number|bool(?:ean)?|[Aa]ny|SecretStr|None|null)\b")


def find_values(text: str, is_secret: Callable[[str, str], bool]) -> Iterator[SecretValue]:
    """Yield the values of secret names in a text, in order; the time is linear in the text.

    Args:
        is_secret: says of a name and its value whether the value is to be masked.
    """
    at, secret = 0, _Known(is_secret)
    while (sign := _SIGN.search(text, at)) is not None:
        at = sign.end()
        name = _name_before(text, sign)
        if name is None or not secret[name.name]:
            continue
        value = _find_quoted_value(text, name) if name.quote else _find_plain_value(text, name)
        if value is not None and value.end > value.start:
            at = value.end
            if is_secret(name.name, text[value.start : value.end]):
                yield value


class _Known(dict[str, bool]):
    """Whether names are secret, each asked once."""

    def __init__(self, is_secret: Callable[[str, str], bool]) -> None:
        self._is_secret = is_secret

    def __missing__(self, name: str) -> bool:
        self[name] = known = self._is_secret(name, ANY)
        return known


def _name_before(text: str, sign: re.Match[str]) -> _Name | None:
    """Return the name that ends where a sign stands; in quotes it may be any text."""
    at = end = sign.start()
    while end > 0 and at - end < 8 and text[end - 1].isspace():
        end -= 1
    mark = text[end - 1 : end]
    if mark in ('"', "'") and mark:
        start = text.rfind(mark, max(end - _MAX_NAME, 0), end - 1) + 1
        name = text[start : end - 1].rstrip("\\")
        return _Name(name, start, text[start + len(name) : end], sign) if start and name else None
    if text[at] == ",":
        return None
    match = _REVERSED.match(text[max(end - _MAX_NAME - 1, 0) : end][::-1])
    return match and _Name(match[0][::-1], end - match.end(), "", sign)


def _find_quoted_value(text: str, name: _Name) -> SecretValue | None:
    """Return the value of a name in quotes: of a key in JSON or a dict's `repr`, or the second of a pair."""
    at, pair = name.end, name.sign == ","
    if pair and not (_HEADER_NAME.fullmatch(name.name) and _is_first(text, name)):
        return None
    if (opening := _OPENING.match(text, at)) is not None:
        return SecretValue(opening.end(), find_quoted_end(text, opening, line=False), "")
    if pair:
        return None
    if text[at : at + 1] in ("{", "[", "("):
        return SecretValue(at, _find_balanced_end(text, at, line=False), name.quote)
    scalar = _SCALAR.match(text, at)
    if scalar is None or scalar[0] in ("null", "None", name.name):
        return None
    return SecretValue(at, scalar.end(), name.quote)


def _is_first(text: str, name: _Name) -> bool:
    """Return whether a quoted name is the first thing in brackets: `["cookie", "…"]`."""
    start = name.start - len(name.quote)
    before = text[max(start - 2, 0) : max(start, 0)]
    return before.removesuffix("b").endswith(("[", "("))


def _find_plain_value(text: str, name: _Name) -> SecretValue | None:
    """Return the value of a name without quotes: in a query string, a header, settings, a `repr`."""
    at, close = name.end, name.sign == "=" and not name.spaced
    if (opening := _OPENING.match(text, at)) is not None:
        return SecretValue(opening.end(), find_quoted_end(text, opening, line=True), "")
    if name.sign == ":" and _HEADER.fullmatch(name.name):
        header = _LINE.match(text, at)
        return header and SecretValue(at, header.end(), "")
    if close and text[at : at + 1] in ("{", "[", "("):
        return SecretValue(at, _find_balanced_end(text, at, line=True), "")
    if not close and not _begins_line(text, name):
        # a long value is not read here: it would be read again for each sign in it
        spoken = _SPOKEN.match(text, at) if _PASSWORD.search(name.name) else None
        return spoken and SecretValue(at, spoken.end(), "")
    plain = (_IN_QUERY if close else _PLAIN).match(text, at)
    if plain is None or plain[0] in _NOTHING or plain[0] == name.name:
        return None
    return SecretValue(at, plain.end(), "") if close or _is_setting(text, plain) else None


def _begins_line(text: str, name: _Name) -> bool:
    """Return whether a name with its sign stands at the start of a line, as in settings."""
    line = text[max(name.start - 100, 0) : name.start].rpartition("\n")[2]
    return not line.strip(" \t-#") and len(line) < 100 and "\n" not in name.match[0]


def _is_setting(text: str, plain: re.Match[str]) -> bool:
    """Return whether the value of a name at a line's start is one of settings, not of prose or code."""
    if _TYPE.match(plain[0]):
        return False
    after = text[plain.end() : plain.end() + 1]
    return after in ("", "\r", "\n") or (any(c.isdigit() for c in plain[0]) and after not in ("(", "["))


def find_quoted_end(text: str, opening: re.Match[str], *, line: bool) -> int:
    """Return where a quoted value ends: at its quote, else at the end of the text or of the line."""
    mark = opening["escapes"] + opening["mark"]
    for match in _TOKEN.finditer(text, opening.end()):
        if _is_closing(match[0], mark):
            return match.end() - len(mark)
        if line and match[0] == "\n":
            return match.start()
    return len(text)


def _is_closing(token: str, mark: str) -> bool:
    """Return whether a quote ends what `mark` began; JSON in JSON writes it \\", once deeper \\\\\\"."""
    more = len(token) - len(mark)
    return token[-1] == mark[-1] and more >= 0 and more % (2 * len(mark)) == 0


def _find_balanced_end(text: str, at: int, *, line: bool) -> int:
    """Return the end of what is in brackets, of the text or of the line where they do not close."""
    depth, mark = 0, ""
    for match in _TOKEN.finditer(text, at):
        token = match[0]
        if token == "\n":
            if line:
                return match.start()
        elif mark:
            mark = "" if _is_closing(token, mark) else mark
        elif token[-1] in "\"'":
            mark = token
        else:
            depth += 1 if token in "[({" else -1
            if depth == 0:
                return match.end()
    return len(text)
