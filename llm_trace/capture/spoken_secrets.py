"""Secrets that a sentence tells: `My password is hunter2`, `the code for the door is 4711`."""

from __future__ import annotations

_NAME = (
    r"[PpCcKkMmSsWw](?<!\w.)(?i:(?<=p)(?:ass(?:word|phrase|code|wd|wort)|wd)|(?<=c)ontrase(?:n|ñ)a"
    r"|(?<=k)ennwort|(?<=m)ot\sde\spasse|(?<=s)enha|(?<=w)achtwoord)s?"
)
_KEY = (
    r"[AaBbLlPpSs](?<!\w.)(?i:(?<=a)(?:pi|ccess|uth)|(?<=b)earer|(?<=l)icen[cs]e|(?<=p)rivate|(?<=s)ecret)"
    r"(?i:[ _\-]?(?:key|token))"
)
_CODE = (
    r"[AaCcLlOoPpRrSsVv2](?<!\w.)(?i:(?<=o)tp|(?<=p)in(?:[ \-]?code)?|(?<=p)asscode"
    r"|(?:(?<=a)uthentication|(?<=a)ccess|(?<=c)onfirmation|(?<=l)og-?in|(?<=o)ne[ \-]time|(?<=r)ecovery"
    r"|(?<=s)ecurity|(?<=s)ms|(?<=v)erification|(?<=2)fa)[ \-](?:pass)?code)"
)
_REQUEST = (
    r"[CcRrSsUuWw](?<!\w.)(?i:(?:(?<=c)hange|(?<=r)eset|(?<=s)et|(?<=u)pdate)d?\s(?:[\w'’]{1,16}\s){0,3}?"
    r"password\s(?:back\s)?to|(?<=w)ith\s(?:[\w'’]{1,16}\s){0,4}?password)\s"
)
"""`change my password to …`, `log in with the user ann and password …`."""
_OF = r"(?:\s(?:at|for|from|in|of|on|to)(?:\s[\w.@\-]{1,32}){1,3}?)?"
"""What it opens: `for the database`."""
_IS = (
    r"(?:(?i:\s{1,4}(?:is|was|are|were|ist|lautet|es|est|é|è)|['’]s)"
    r"(?i:\s(?:now|still|just|currently|(?:set|changed|reset)\sto))?:?|\s?:)\s{1,4}"
)
_OPENING = r"""(?:\\?["']|[`*“‘«]{1,3})?"""
_NO_SECRET = (
    r"(?!(?i:(?:aes|argon|base|md|o?auth|pbkdf|rsa|sha|utf)[\-_]?\d"
    r"|\d{1,4}[\-+]?(?:bit|char|digit|letter|word|minute|hour|day|month|year)))"
)
"""Names of methods, and how long something is or lasts."""
_MIXED = (
    rf"{_OPENING}{_NO_SECRET}(?=[^\s\d]{{0,64}}\d)(?=[^\sA-Za-z]{{0,64}}[A-Za-z])"
    r"""(?P<secret>[^\s,;"'`<>(){}\[\]\\|*”’»]{6,256}+)(?![^\s,;.:!?"'`*)\]”’»\\])"""
)
"""A word of letters with digits among them."""


def _spell(*endings: str) -> tuple[str, ...]:
    """Return ends of words in small letters, and in capitals."""
    return tuple(spelling for ending in endings for spelling in (ending, ending.upper()))


_LEADS = (f"{_NAME}{_OF}{_IS}", _REQUEST, f"{_KEY}{_OF}{_IS}")
_HINTS = (
    _spell("assw", "assp", "assc", "asse", "wd", "ontrase", "ennwort", "enha", "achtwoord"),
    _spell("assword"),
    _spell("ey", "oken"),
)
PASSWORD = f"(?:{'|'.join(_LEADS)}){_MIXED}"
PASSWORD_PARTS = tuple(
    (least, hint, lead + _MIXED) for least, hint, lead in zip((11, 20, 15), _HINTS, _LEADS, strict=True)
)
"""As `patterns.PARTS` has them."""

CODE = rf"{_CODE}{_OF}{_IS}{_OPENING}(?P<secret>\d(?:[ \-]?\d){{3,9}}+)(?!\w)"
CODE_PARTS = ((9, ("otp", "Otp", "OTP", "pin", "Pin", "PIN", *_spell("ode")), CODE),)
