"""Rule files: what an operations person writes, and errors that name file, line, place and remedy."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import llm_trace
from llm_trace.errors import ConfigurationError, LLMTraceError, RuleError
from llm_trace.operations import load_rules, parse_rules
from tests.helpers.cli_toys import record

pytest.importorskip("cel_expr_python")

GOOD = """\
# the desk's rules
rules:
  - name: the example outweighs the days
    when: >-
      share('broken') > 0.4
      && share_of_variable("question") < 0.1
    action: check
    comment: The example line.
  - name: dear
    when: call.cost_usd > 1 || "batch" in call.tags
    action: alert
    to: https://example.org/hook
  - name: odd
    when: |
      call.kind == "llm"
      && !(call.output_tokens < 3)
    action: tag
    tag: long
  - {name: never, when: "score('toxic') == 1", action: block}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "rules.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_gives_its_rules_in_their_order(tmp_path: Path) -> None:
    rules = load_rules(write(tmp_path, GOOD))
    assert [(rule.name, rule.action, rule.tag, rule.to, rule.line) for rule in rules] == [
        ("the example outweighs the days", "check", None, (), 3),
        ("dear", "alert", None, ("https://example.org/hook",), 9),
        ("odd", "tag", "long", (), 13),
        ("never", "block", None, (), 19),
    ]
    first, *_ = rules
    assert first.condition.text == "share('broken') > 0.4 && share_of_variable(\"question\") < 0.1"
    assert first.condition.variables == ("question",)
    assert first.comment == "The example line."
    assert len({rule.version for rule in rules}) == 4
    assert load_rules(write(tmp_path, GOOD)).rules == rules.rules


WRONG = {
    "unknown action": ("action: check", "action: chek", 7, "action 'chek' is unknown: did you mean 'check'?"),
    "another action": ("action: check", "action: email", 7, "choose one of check, block, tag, alert"),
    "unknown key": ("    comment:", "    coment:", 8, "'coment' is unknown here: did you mean 'comment'?"),
    "unknown name": (
        "call.cost_usd",
        "call.cost",
        10,
        "undeclared reference to 'call.cost': did you mean call.cost_usd?",
    ),
    "unknown function": ("share('broken')", "shares('broken')", 4, "'shares': did you mean share?"),
    "and": ("||", "or", 10, "write && for and, || for or, ! for not"),
    "keyword": (
        'share_of_variable("question")',
        "share(variable='question')",
        4,
        "write share_of_variable('days')",
    ),
    "one equal sign": ('call.kind == "llm"', 'call.kind = "llm"', 14, "write == for equal"),
    "no yes or no": ("call.cost_usd > 1 ||", "call.cost_usd ||", 10, "no matching overload"),
    "a number alone": (
        "score('toxic') == 1",
        "score('toxic')",
        19,
        "gives a DOUBLE, where a yes or no is needed",
    ),
    "a text above a number": ("score('toxic') == 1", "score('toxic') > 'x'", 19, "no matching overload"),
    "no pattern": ('call.kind == "llm"', 'call.kind.matches("(a")', 14, "'(a' is no pattern of RE2"),
    "same name": ("name: odd", "name: dear", 13, "the name 'dear' is that of line 9 already: rename one"),
    "no name": ("  - name: odd\n    when", "  - when", 13, "the rule has no `name:`"),
    "name is a number": (
        "name: odd",
        "name: 7",
        13,
        "`name:` is 7, where a text is needed: put it in quotes",
    ),
    "when is a yes": (
        'call.cost_usd > 1 || "batch" in call.tags',
        "true",
        10,
        "`when:` is True, where a text",
    ),
    "empty comment": (
        "comment: The example line.",
        "comment:",
        8,
        "`comment:` is None, where a text is needed",
    ),
    "tag elsewhere": (
        "to: https://example.org/hook",
        "tag: x",
        12,
        "`tag:` belongs to `action: tag`: remove it",
    ),
    "to is a number": (
        "to: https://example.org/hook",
        "to: [7]",
        12,
        "where an address or a list of them is needed",
    ),
    "to means nothing": (
        "to: https://example.org/hook",
        "to: example.org/hook",
        12,
        "rule 'dear': 'example.org/hook' is no target of alarms: give https://HOST/PATH",
    ),
    "to a program that is not there": (
        "to: https://example.org/hook",
        "to: [https://example.org/hook, 'command:no-such-pager-77']",
        12,
        "rule 'dear': there is no program 'no-such-pager-77'",
    ),
    "a tag of YAML": ("\"score('toxic') == 1\"", "!score", 19, "this is no YAML"),
    "brackets": ("rules:\n", "rules: [\n", 3, "this is no YAML"),
    "another top": ("rules:\n", "rule:\n", 2, "the file begins with `rules:` and a list of them"),
    "a rule is a text": (
        "  - {name: never, when: \"score('toxic') == 1\", action: block}",
        "  - never",
        19,
        "a rule has the keys",
    ),
    "key twice": (
        "    tag: long",
        "    tag: long\n    tag: short",
        19,
        "'tag' stands in line 18 already: remove one",
    ),
}


@pytest.mark.parametrize(("old", "new", "line", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_with_file_line_and_remedy(
    tmp_path: Path, old: str, new: str, line: int, message: str
) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(RuleError) as error:
        load_rules(path)
    assert str(error.value).startswith(f"{str(path)!r}, line {line}: ")
    assert message in str(error.value)


def test_the_place_of_a_mistake_in_a_condition_is_marked(tmp_path: Path) -> None:
    with pytest.raises(RuleError) as error:
        parse_rules("rules:\n- name: a\n  action: check\n  when: |\n    true &&\n      call.modell == 'x'\n")
    assert str(error.value) == (
        "line 4: rule 'a': undeclared reference to 'call.modell': did you mean call.model?\n"
        "      call.modell == 'x'\n"
        "          ^"
    )


def test_a_variable_that_no_prompt_in_the_store_has_is_refused_with_its_line(
    path: Path, tmp_path: Path
) -> None:
    record(path)
    rules = write(tmp_path, GOOD)
    with llm_trace.open_store(path) as store:
        assert len(load_rules(rules, store=store)) == 4
        for old, new, line in (
            ('variable("question")', 'variable("questions")', 4),
            ("call.cost_usd > 1", "prompt.variables.day == 'x'", 10),
            ("call.cost_usd > 1", "prompt.variables['day'] == 'x'", 10),
        ):
            with pytest.raises(RuleError, match="no prompt in the store has a variable") as error:
                load_rules(write(tmp_path, GOOD.replace(old, new)), store=store)
            assert f"line {line}:" in str(error.value)
            remedy = "did you mean 'question'" if "questions" in new else "there are question"
            assert remedy in str(error.value)


def test_a_name_in_a_text_is_no_variable(path: Path) -> None:
    rules = parse_rules("rules:\n- {name: a, action: check, when: \"call.answer == 'prompt.variables.day'\"}")
    assert rules.rules[0].condition.variables == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "is no UTF-8: save it as UTF-8"),
        (b"", "begins with `rules:`"),
        (b"rules: []", "begins with `rules:`"),
        (b"- a", "begins with `rules:`"),
        (b"rules: &a [*a]", "this contains itself"),
        (b"[" * 700, "stand in each other"),
        (b"rules:\n" + b"#" * 1_000_000, "larger than 1,000,000 bytes"),
        (b"rules: \x00", "no YAML"),
        (b"\xef\xbb\xbfrules: 3", "line 1: the file begins with `rules:`"),
    ],
    ids=["bytes", "empty", "none", "list", "itself", "deep", "large", "null", "mark"],
)
def test_a_file_that_is_no_file_of_rules_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_bytes(content)
    with pytest.raises(RuleError, match=re.escape(message)) as error:
        load_rules(path)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="cannot be read: No such file"):
        load_rules(tmp_path / "none.yaml")


@pytest.mark.parametrize("merge", [False, True], ids=["aliases", "merges"])
def test_anchors_that_multiply_are_refused_at_once(merge: bool) -> None:
    line = "a{0}: &a{0} {{<<: [{1}], k{0}: 1}}\n" if merge else "a{0}: &a{0} [{1}]\n"
    first = "a0: &a0 {k: 1}\n" if merge else "a0: &a0 [x, x]\n"
    text = first + "".join(line.format(i, ", ".join([f"*a{i - 1}"] * 9)) for i in range(1, 15))
    began = time.process_time()
    with pytest.raises(RuleError, match="more than 1,000,000 values"):
        parse_rules(text + "rules: []\n")
    assert time.process_time() - began < 10


HOSTILE = {
    "long": "true" + " || true" * 400,
    "deep": "(" * 500 + "true" + ")" * 500,
    "sum": "1" + "+1" * 700 + " > 3",
    "negations": "!" * 1_900 + "true",
    "choices": "true ? " * 200 + "true" + " : false" * 200,
    "loops": "[1,2,3,4,5,6,7,8,9,10]" + ".map(x, [x, x, x, x])" * 80 + " == []",
    "macro": "[[1]]" + ".exists(x, x" * 100,
    "pattern": "call.name.matches('" + "(" * 900 + "')",
    "repetition": "call.name.matches('((a{1000}){1000}){1000}')",
    "python": "__import__('os').system('true') == 0",
    "attribute": "call.name.__class__ == 'x'",
    "null": "call.name == '\\x00' || \x00",
}


@pytest.mark.parametrize("condition", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_condition_is_refused_or_read_in_a_moment(condition: str) -> None:
    text = "rules:\n- name: a\n  action: check\n  when: " + json.dumps(condition)
    began = time.process_time()
    try:
        parse_rules(text)
    except RuleError as exc:
        assert str(exc).startswith("line 4: rule 'a': ")
    assert time.process_time() - began < 5


@settings(max_examples=60)
@given(st.text(max_size=40) | st.text(alphabet="()[]{}!&|<>=+-*/%?:.,'\"\\ abshare0123 \n", max_size=40))
@example("call.name == '\U0001f600'")
def test_any_text_as_a_condition_is_read_or_refused(condition: str) -> None:
    text = "rules:\n- name: a\n  action: check\n  when: " + json.dumps(condition, ensure_ascii=False)
    try:
        rules = parse_rules(text)
    except RuleError:
        return
    assert rules.rules[0].condition.text == condition.strip()


@given(
    st.binary(max_size=60)
    | st.text(alphabet="rules:- namewhectio{}[]&*!|>'\"\n ", max_size=120).map(str.encode)
)
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    with pytest.raises(LLMTraceError) as error:
        load_rules(path)
    assert isinstance(error.value, ConfigurationError)
