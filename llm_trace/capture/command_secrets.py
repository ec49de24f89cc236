"""Secrets in command lines: what follows `--password`, and what curl takes behind a short option."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any

from llm_trace.capture.secret_names import ANY, SecretValue, find_quoted_end

_GAP = r"""(?:[ \t]{1,8}(?:\\\r?\n\s{0,8})?|\\*["'],\s{0,8}|\s{0,8}\n[ \t]{0,40}-[ \t]{1,8})"""
"""Between an option and its value: room, the comma of a list, or the dash of the next item in YAML."""
_OPTION = re.compile(rf"(?P<name>-(?<![\w.\-]-)-?[A-Za-z][\w.\-]{{1,63}}+){_GAP}")
_OPENING = re.compile(r"""(?P<escapes>\\*)(?P<mark>["'])""")
_VALUE = re.compile(r"""[^\s,;&#"'`<>(){}\[\]\\|]+""")
_NO_VALUE = ("-stdin", "-file", "-path", "-prompt", "-env", "-policy", "-command")
"""Ends of the names of options that say where a secret is."""
_PROSE = frozenset([
    "a", "also", "an", "and", "are", "argument", "as", "at", "be", "because", "but", "by", "can", "do",
    "does", "don't", "either", "field", "flag", "flags", "for", "from", "has", "have", "if", "in",
    "instead", "into", "is", "it", "its", "may", "must", "not", "nor", "of", "on", "only", "option",
    "options", "or", "out", "parameter", "set", "should", "since", "so", "switch", "than", "that", "the",
    "then", "there", "this", "to", "value", "was", "when", "where", "whether", "which", "while", "will",
    "with", "without", "you", "your",
])  # fmt: skip
"""Words by which a text goes on that speaks of an option."""

COMMANDS = (
    r"(?<![\w.\-])(?:curl|https?|xh|sshpass|redis-cli|mosquitto_[ps]ub|(?:mysql|mariadb)(?:dump|-dump|admin)?"
    r"|mongo(?:sh|dump|restore|export|import)?|(?:docker|podman|nerdctl|helm(?:\s{1,8}registry)?)\s{1,8}login)"
    r"(?=\.exe|[\s\"'])"
)
"""Commands that take a secret behind a short option."""
_MOST_COMMAND = 4096
_COMMAND_END = re.compile(r"(?<!\\)\n(?!\s*-)|\s(?:\|\|?|&&|;)\s")
_LOGIN = re.compile(
    rf"""(?<![\w\-])(?:-[uUa](?:{_GAP})?|--(?:proxy-)?(?:user|auth)(?:=|{_GAP}))\\*["']?"""
    r"""[^\s:"'\\]{0,256}+:(?!//)(?P<secret>[^\s"'\\]+)"""
)
_SPACED = rf"""{_GAP}\\*["']?(?P<secret>[^\s"'\\\-][^\s"'\\]*)"""
_BEHIND_P = re.compile(rf"(?<![\w\-])-p{_SPACED}")
_ATTACHED = re.compile(r"""(?<![\w\-])-p(?P<secret>[^\s"'\\]+)""")
_SHORT_OPTIONS = {
    "curl": _LOGIN,
    "http": _LOGIN,  # and https
    "xh": _LOGIN,
    "sshpass": re.compile(rf"""(?<![\w\-])-p(?:{_GAP})?\\*["']?(?P<secret>[^\s"'\\]+)"""),
    "redis-cli": re.compile(rf"(?<![\w\-])-a{_SPACED}"),
    "login": _BEHIND_P,
    "mongo": _BEHIND_P,
    "mosquitto": re.compile(rf"(?<![\w\-])-P{_SPACED}"),
    "mysql": _ATTACHED,
    "mariadb": _ATTACHED,
}
"""By the command, or its last word: what holds the secret."""
_MOST_ARGUMENT = 4096
_COMMA = '", "'


def find_command_secrets(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    """Yield where secrets stand behind short options of commands."""
    for command, following in pairwise(chain(pattern.finditer(text), [None])):
        if command is not None:
            begin, stop = command.end(), len(text) if following is None else following.start()
            end = _COMMAND_END.search(text, begin, stop := min(stop, begin + _MOST_COMMAND))
            option = _SHORT_OPTIONS[_get_command_kind(command[0])]
            for match in option.finditer(text, begin, stop if end is None else end.start()):
                yield match.span("secret")


def _get_command_kind(command: str) -> str:
    word = command.split()[-1]
    return next((kind for kind in _SHORT_OPTIONS if word.startswith(kind)), word)


def find_option_values(text: str, is_secret: Callable[[str, str], bool]) -> Iterator[SecretValue]:
    """Yield the values of options with a secret name: in a command line, and in lists of arguments.

    Args:
        is_secret: says of a name and its value whether the value is to be masked.
    """
    at = 0
    while (option := _OPTION.search(text, at)) is not None:
        at, name = option.end(), option["name"]
        opening = _OPENING.match(text, at)
        begin = at if opening is None else opening.end()
        if text[begin : begin + 1] == "-" or not _names_secret(name, is_secret):
            continue  # before the value is read: a long one would be read again for each option in it
        if opening is not None:
            end = find_quoted_end(text, opening, line=True)
        else:
            value = _VALUE.match(text, at)
            end = at if value is None else value.end()
        if begin < end and text[begin:end] not in _PROSE:
            at = end
            yield SecretValue(begin, end, "")


def _names_secret(name: str, is_secret: Callable[[str, str], bool]) -> bool:
    return not name.endswith(_NO_VALUE) and is_secret(name, ANY)


def find_secret_arguments(arguments: Sequence[Any], is_secret: Callable[[str, str], bool]) -> set[int]:
    """Return the numbers of a command's arguments that are secrets or hold one, as far as the arguments
    before them say so.
    """
    texts = [argument[:_MOST_ARGUMENT] if type(argument) is str else "" for argument in arguments]
    ends = list(accumulate(len(text) + len(_COMMA) for text in texts))
    line = _COMMA[-1] + _COMMA.join(texts) + _COMMA[0]
    options = (value.start for value in find_option_values(line, is_secret))
    short = (start for start, _ in find_command_secrets(re.compile(COMMANDS), line))
    return {bisect_right(ends, start - 1) for start in chain(options, short)}
