"""Conditions in CEL, the Common Expression Language: compiled with types, evaluated with bounded work.

CEL has no loops, no assignments and no access to Python. Its library bounds the depth of a condition (32)
and the steps of its `all`, `exists`, `map` and `filter` (10,000 together); patterns are RE2, whose time is
linear. What a condition asks and nobody knows is an error in CEL, and its `&&` and `||` know what to do with
it: `unknown && false` is false, `unknown || true` is true, all else stays unknown.

Source: github.com/google/cel-spec, "Logical operators".
"""

from __future__ import annotations

import difflib
import re
import threading
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from llm_trace.errors import RuleError
from llm_trace.operations.rules_cel import get_cel, make_plain, match_words, strip_code
from llm_trace.operations.rules_vocabulary import FUNCTIONS, NAMES
from llm_trace.rendering.leaves import encode_text

if TYPE_CHECKING:
    from collections.abc import Collection

    from llm_trace.operations.rules_facts import KnownCall

LONGEST = 2_000
"""Characters of a condition."""
_COMPARISONS = {"_>_": "greater", "_<_": "less", "_>=_": "greater_equals", "_<=_": "less_equals"}
_EQUALITIES = {"_==_": "equals", "_!=_": "not_equals"}
_PLACE = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_LITERAL = r"""[rR]?(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
_asked = threading.local()

RuleAnswer = Literal["fires", "quiet", "unknown"]


@dataclass(frozen=True)
class ConditionFinding:
    """What a condition says of a call."""

    answer: RuleAnswer
    reason: str | None = None
    """Why it is unknown."""


@dataclass(frozen=True)
class RuleCondition:
    """A condition that can be asked of calls."""

    text: str
    _program: Any = field(repr=False, compare=False)

    def evaluate(self, known: KnownCall) -> ConditionFinding:
        """Return whether the condition holds of a call; `unknown` where what it needs is not known."""
        before, _asked.call = getattr(_asked, "call", None), known
        try:
            value = self._program.eval(known.get_activation(_make_activation))
        except RuntimeError as exc:  # the bound on the work
            return ConditionFinding("unknown", strip_code(str(exc)))
        finally:
            _asked.call = before
        known.raise_failure()
        answer = value.value()
        if isinstance(answer, bool):
            return ConditionFinding("fires" if answer else "quiet")
        return ConditionFinding("unknown", _explain_unknown(str(answer)))

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of scores that the condition has as literals, in their order."""
        calls = re.findall(rf"\b(?:score|label)\s*\(\s*({_LITERAL})\s*\)", self.text)
        return tuple(dict.fromkeys(map(_read_literal, calls)))

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of prompt variables that the condition has as literals, in their order."""
        calls = re.findall(rf"\bshare_of_variable\s*\(\s*({_LITERAL})\s*\)", self.text)
        keys = re.findall(rf"\bprompt\.variables\s*\[\s*({_LITERAL})\s*\]", self.text)
        fields = re.findall(r"\bprompt\.variables\.([A-Za-z_]\w*)", _blank_literals(self.text))
        return tuple(dict.fromkeys([*map(_read_literal, (*calls, *keys)), *fields]))


def compile_condition(text: str) -> RuleCondition:
    """Return a condition that answers yes or no.

    Raises:
        RuleError: it is too long, no CEL, names something that there is not, or answers something else; the
            message marks the place and says what to write.
        MissingExtraError: CEL's library is not installed.
    """
    if len(text) > LONGEST:
        raise RuleError(f"the condition has {len(text):,} characters: {LONGEST:,} are allowed, split it up")
    environment, kinds = _build_environment(), get_cel().Type
    try:
        program = environment.compile(encode_text(text))
    except RuntimeError as exc:
        raise RuleError(_explain_error(text, str(exc))) from exc
    if program.return_type() not in (kinds.BOOL, kinds.DYN):
        raise RuleError(
            f"the condition gives a {program.return_type().name()}, where a yes or no is needed: compare it, "
            "as in share('broken') > 0.4"
        )
    for literal in re.findall(rf"(?:\bshare_matching\s*\(|\.matches\s*\()\s*({_LITERAL})\s*\)", text):
        match_words(_read_literal(literal), ())
    return RuleCondition(text, program)


@cache
def _build_environment() -> Any:
    """Return the names and functions of conditions, with types.

    CEL's own comparisons refuse a whole number beside a fraction (`share('x') > 0`), and people write that:
    they are declared anew.
    """
    cel = get_cel()
    names = "\n".join(f'    - name: "{name}"' for name in (_COMPARISONS | _EQUALITIES))
    return cel.NewEnv(
        config=cel.NewEnvConfigFromYaml(f"stdlib:\n  exclude_functions:\n{names}\n"),
        variables={name: _read_type(kind) for name, (kind, _) in NAMES.items()},
        functions=[*_declare_comparisons(), *(_declare_function(name) for name in FUNCTIONS)],
    )


def _declare_comparisons() -> list[Any]:
    cel = get_cel()
    number, whole, text = cel.Type.DOUBLE, cel.Type.INT, cel.Type.STRING
    pairs = [(number, number), (whole, whole), (number, whole), (whole, number), (text, text)]
    equal = [(kind, kind) for kind in (cel.Type.BOOL, cel.Type.NULL, cel.Type.List(text))]
    return [
        cel.FunctionDecl(
            sign,
            [
                cel.Overload(f"{name}_{i}", return_type=cel.Type.BOOL, parameters=list(pair))
                for i, pair in enumerate([*pairs, *(equal if sign in _EQUALITIES else ())])
            ],
        )
        for sign, name in (_COMPARISONS | _EQUALITIES).items()
    ]


def _declare_function(name: str) -> Any:
    cel = get_cel()

    def ask(argument: str) -> float | str:
        known: KnownCall = _asked.call
        return known.ask(name, argument)

    returns = _read_type(FUNCTIONS[name].returns)
    return cel.FunctionDecl(
        name, [cel.Overload(f"{name}_text", return_type=returns, parameters=[cel.Type.STRING], impl=ask)]
    )


def _read_type(kind: str) -> Any:
    types = get_cel().Type
    return {
        "string": types.STRING,
        "int": types.INT,
        "double": types.DOUBLE,
        "list<string>": types.List(types.STRING),
        "map<string, dyn>": types.Map(types.STRING, types.DYN),
    }[kind]


def _make_activation(values: dict[str, Any]) -> Any:
    return _build_environment().Activation({name: make_plain(value) for name, value in values.items()})


def _read_literal(literal: str) -> str:
    """Return the text of a literal; CEL reads its escapes."""
    return str(get_cel().NewEnv().compile(literal).eval().value())


def _blank_literals(text: str) -> str:
    return re.sub(_LITERAL, lambda match: " " * len(match[0]), text)


def _explain_unknown(message: str) -> str:
    if match := re.search(r'No value with name "([\w.]+)"', message):
        return f"{match[1]} is not known of this call"
    return strip_code(message)


def _explain_error(text: str, message: str) -> str:
    """Return what is wrong with a condition: the words, the line with the place marked, and the remedy."""
    match = _PLACE.search(message)
    if match is None or match[1] == "-1" or int(match[2]) < 1:
        deep = "recursion" in message
        return (
            "the condition is nested too deep: split it into several rules" if deep else strip_code(message)
        )
    line, column, what = (
        int(match[1]),
        int(match[2]),
        strip_code(match[3]).removesuffix(" (in container '')"),
    )
    lines = text.splitlines() or [""]
    shown = lines[min(line, len(lines)) - 1]
    return f"{what}{_find_remedy(text, what)}\n    {shown}\n    {' ' * (column - 1)}^"


def _find_remedy(text: str, what: str) -> str:
    bare = _blank_literals(text)
    if match := re.search(r"undeclared reference to '([^']*)'", what):
        return f": {_suggest(match[1], (*NAMES, *FUNCTIONS))}"
    if re.search(r"\b(and|or|not)\b", bare) and "Syntax error" in what:
        return ": write && for and, || for or, ! for not"
    if match := re.search(r"\b(\w+)\s*\(\s*\w+\s*=[^=]", bare):
        return f": CEL names no arguments: write {match[1]}_of_variable('days'), or {match[1]}('broken')"
    if re.search(r"(?<![=!<>])=(?!=)", bare):
        return ": write == for equal"
    if "no matching overload" in what and "double" in what and "int" in what:
        return ": write numbers with a point: 1.0, not 1"
    return ""


def _suggest(name: str, choices: Collection[str]) -> str:
    near = difflib.get_close_matches(name, choices, 1) or [
        choice for choice in choices if choice.endswith(f".{name}")
    ]
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(choices)}"
