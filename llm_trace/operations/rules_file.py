"""Rule files: YAML that an operations person can read, with errors that name file, line and remedy."""

from __future__ import annotations

import difflib
import os
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from llm_trace.errors import ConfigurationError, RuleError, ScenarioError
from llm_trace.evaluation.yaml_lines import YamlDocument, parse_yaml
from llm_trace.operations.alarm_targets import read_target
from llm_trace.operations.rules import ACTIONS, Rule, RuleSet
from llm_trace.operations.rules_conditions import compile_condition

if TYPE_CHECKING:
    from llm_trace.stores.duckdb import Store

LARGEST = 1_000_000
"""Bytes of a file."""
_NEEDED = ("name", "when", "action")
_KEYS = (*_NEEDED, "comment", "tag", "to")
_OF_ACTION = {"tag": "tag", "to": "alert"}
"""Keys that one action alone has."""
YamlPath = tuple[str | int, ...]


def load_rules(path: str | os.PathLike[str], *, store: Store | None = None) -> RuleSet:
    """Return the rules of a YAML file, in their order.

    Args:
        path: of the file.
        store: where the rules are to be used: a rule that names a variable which no prompt in it has is
            refused.

    Raises:
        RuleError: something is wrong; the message names file, line and remedy.
        MissingExtraError: PyYAML or CEL is not installed.
    """
    file = Path(path)
    reader = _RuleReader(file, _read_document(file))
    rules = reader.build_rules()
    if store is not None:
        reader.check_variables(rules, store)
    return RuleSet(tuple(rules), file)


def parse_rules(text: str) -> RuleSet:
    """Return the rules of a text as a file would have it.

    Raises:
        RuleError: something is wrong; the message names line and remedy.
    """
    return RuleSet(tuple(_RuleReader(None, _parse(text, "")).build_rules()))


def _read_document(file: Path) -> YamlDocument:
    try:
        with file.open("rb") as stream:
            data = stream.read(LARGEST + 1)
        text = data.decode("utf-8-sig")
    except OSError as exc:
        raise RuleError(f"the rule file {str(file)!r} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise RuleError(f"{str(file)!r} is no UTF-8: save it as UTF-8") from exc
    if len(data) > LARGEST:
        raise RuleError(f"{str(file)!r} is larger than {LARGEST:,} bytes: split it up")
    return _parse(text, f"{str(file)!r}, ")


def _parse(text: str, where: str) -> YamlDocument:
    try:
        return parse_yaml(text)
    except ScenarioError as exc:
        raise RuleError(f"{where}{exc}") from exc


@dataclass(frozen=True)
class _RuleReader:
    """Makes rules of a document."""

    file: Path | None
    document: YamlDocument

    def build_rules(self) -> list[Rule]:
        top = self.document.value
        if not isinstance(top, dict) or not isinstance(top.get("rules"), list) or not top["rules"]:
            self.refuse((), "the file begins with `rules:` and a list of them")
        self._check_keys((), top, ("rules",))
        rules: dict[str, Rule] = {}
        for number, entry in enumerate(top["rules"]):
            rule = self._build_rule(number, entry)
            if rule.name in rules:
                message = (
                    f"the name {rule.name!r} is that of line {rules[rule.name].line} already: rename one"
                )
                self.refuse(("rules", number, "name"), message)
            rules[rule.name] = rule
        return list(rules.values())

    def check_variables(self, rules: Iterable[Rule], store: Store) -> None:
        known = _list_variables(store)
        for number, rule in enumerate(rules):
            for name in rule.condition.variables:
                if name not in known:
                    near = difflib.get_close_matches(name, known, 1)
                    there = (
                        f"there are {', '.join(sorted(known))}" if known else "the store has no prompt at all"
                    )
                    remedy = f"did you mean {near[0]!r}?" if near else there
                    message = f"rule {rule.name!r}: no prompt in the store has a variable {name!r}: {remedy}"
                    self.refuse(("rules", number, "when"), message)

    def _build_rule(self, number: int, entry: Any) -> Rule:
        place: YamlPath = ("rules", number)
        if not isinstance(entry, dict):
            self.refuse(place, "a rule has the keys `name:`, `when:` and `action:`")
        self._check_keys(place, entry, _KEYS)
        for key in _NEEDED:
            if key not in entry:
                self.refuse(place, f"the rule has no `{key}:`: {_EXAMPLES[key]}")
        for key in (*_NEEDED, "comment", "tag"):
            if key in entry and not (isinstance(entry[key], str) and entry[key].strip()):
                self.refuse(
                    (*place, key), f"`{key}:` is {entry[key]!r}, where a text is needed: put it in quotes"
                )
        action = self._read_action(place, entry)
        try:
            condition = compile_condition(entry["when"].strip())
        except RuleError as exc:
            self.refuse((*place, "when"), f"rule {entry['name']!r}: {exc}", exc)
        return Rule(
            name=entry["name"].strip(),
            condition=condition,
            action=action,
            comment=entry.get("comment"),
            tag=entry.get("tag"),
            to=self._read_targets(place, entry),
            line=self.document.find_line((*place, "name")),
        )

    def _read_action(self, place: YamlPath, entry: Mapping[str, Any]) -> Any:
        action = entry["action"]
        if action not in ACTIONS:
            near = difflib.get_close_matches(action, ACTIONS, 1)
            remedy = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(ACTIONS)}"
            self.refuse(
                (*place, "action"), f"rule {entry['name']!r}: the action {action!r} is unknown: {remedy}"
            )
        for key, owner in _OF_ACTION.items():
            if key in entry and action != owner:
                self.refuse((*place, key), f"`{key}:` belongs to `action: {owner}`: remove it")
        return action

    def _read_targets(self, place: YamlPath, entry: Mapping[str, Any]) -> tuple[str, ...]:
        to = entry.get("to", [])
        targets = [to] if isinstance(to, str) else to
        if not isinstance(targets, list) or not all(isinstance(target, str) and target for target in targets):
            self.refuse((*place, "to"), f"`to:` is {to!r}, where an address or a list of them is needed")
        for target in targets:
            try:
                read_target(target)
            except ConfigurationError as exc:
                self.refuse((*place, "to"), f"rule {entry['name']!r}: {exc}", exc)
        return tuple(targets)

    def _check_keys(self, place: YamlPath, entry: Mapping[Any, Any], allowed: tuple[str, ...]) -> None:
        for key in entry:
            if key not in allowed:
                near = difflib.get_close_matches(str(key), allowed, 1)
                remedy = f"did you mean {near[0]!r}?" if near else f"use {', '.join(allowed)}"
                self.refuse((*place, str(key)), f"{key!r} is unknown here: {remedy}")

    def refuse(self, place: YamlPath, message: str, cause: Exception | None = None) -> NoReturn:
        where = "" if self.file is None else f"{str(self.file)!r}, "
        raise RuleError(f"{where}line {self.document.find_line(place)}: {message}") from cause


_EXAMPLES = {
    "name": "give it one, such as `name: weight on the example`",
    "when": "say when it fires, as in `when: share('broken') > 0.4`",
    "action": f"choose one of {', '.join(ACTIONS)}",
}


def _list_variables(store: Store) -> set[str]:
    """Return the names of the variables of all prompts in a store."""
    names: set[str] = set()
    for (template,) in store.sql("SELECT template FROM prompts WHERE template IS NOT NULL"):
        try:
            fields = [field for _, field, _, _ in string.Formatter().parse(template) if field]
        except ValueError:  # another tool's template, with braces of another meaning
            continue
        names |= {field.partition(".")[0].partition("[")[0] for field in fields}
    used = "SELECT DISTINCT unnest(json_keys(prompt_variables)) FROM calls WHERE prompt_variables IS NOT NULL"
    return names | {str(name) for (name,) in store.sql(used)}
