"""Scenario files: YAML that a person who knows the field can write, with errors that name line and remedy."""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from llm_trace.errors import ScenarioError
from llm_trace.evaluation.expressions import FieldPath
from llm_trace.evaluation.scenario import Scenario
from llm_trace.evaluation.yaml_lines import YamlDocument, parse_yaml

TRIED = 3
"""Instances that are made of each scenario when its file is read, so that errors come before any call."""


def load_scenarios(
    path: str | os.PathLike[str], *, public: str | os.PathLike[str] | None = None
) -> tuple[Scenario, ...]:
    """Return the scenarios of a YAML file, in their order.

    A few instances of each are made, so that what cannot be drawn or computed is said here.

    Args:
        path: of the file.
        public: a JSON Lines file in place of those that the scenarios name for their public set.

    Raises:
        ScenarioError: something is wrong; the message names file, line and remedy.
        MissingExtraError: PyYAML or Jinja is not installed.
    """
    file = Path(path)
    try:
        document = parse_yaml(file.read_text(encoding="utf-8-sig"))
    except OSError as exc:
        raise ScenarioError(f"the scenario file {str(file)!r} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ScenarioError(f"{str(file)!r} is no UTF-8: save it as UTF-8") from exc
    except ScenarioError as exc:
        raise ScenarioError(f"{str(file)!r}, {exc}") from exc
    entries = _list_entries(file, document)
    _check_ids(file, document, entries)
    return tuple(
        _build_scenario(file, document, number, entry, public) for number, entry in enumerate(entries)
    )


def find_example(name: str) -> Path:
    """Return the path of a scenario file that comes with llm_trace: `refund`, `arithmetic` or `retrieval`.

    Raises:
        ScenarioError: there is none of that name.
    """
    folder = Path(__file__).with_name("examples")
    path = folder / f"{name}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(each.stem for each in folder.glob("*.yaml")))
        raise ScenarioError(f"there is no scenario file {name!r}, and of those that are shipped: {names}")
    return path


def _list_entries(file: Path, document: YamlDocument) -> list[Any]:
    top = document.value
    if not isinstance(top, dict) or not isinstance(top.get("scenarios"), list) or not top["scenarios"]:
        raise ScenarioError(f"{str(file)!r}, line 1: the file begins with `scenarios:` and a list of them")
    for key in top.keys() - {"scenarios"}:
        near = difflib.get_close_matches(str(key), ["scenarios"], 1)
        remedy = f"did you mean {near[0]!r}?" if near else "use `scenarios` alone at the top"
        raise _place_error(file, document, (str(key),), f"{key!r} is unknown here: {remedy}")
    return list(top["scenarios"])


def _check_ids(file: Path, document: YamlDocument, entries: Iterable[Any]) -> None:
    first: dict[str, int] = {}
    for number, entry in enumerate(entries):
        place: FieldPath = ("scenarios", number)
        if not isinstance(entry, dict):
            raise _place_error(file, document, place, "a scenario has keys such as `id:` and `input:`")
        line = document.find_line((*place, "id"))
        if (id_ := str(entry.get("id"))) in first and "id" in entry:
            message = f"the id {id_!r} is that of line {first[id_]} already: rename one"
            raise _place_error(file, document, (*place, "id"), message)
        first[id_] = line


def _build_scenario(
    file: Path, document: YamlDocument, number: int, entry: Mapping[str, Any], public: Any
) -> Scenario:
    fields = _resolve_public({str(key): value for key, value in entry.items()}, file.parent, public)
    try:
        scenario = Scenario(**fields)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # how many there can be is said when they are made
            scenario.make_instances(TRIED)
    except ScenarioError as exc:
        message = f"scenario {fields.get('id')!r}: {exc}" if "id" in fields else str(exc)
        raise _place_error(file, document, ("scenarios", number, *exc.where), message) from exc
    return scenario


def _resolve_public(fields: dict[str, Any], folder: Path, public: Any) -> dict[str, Any]:
    examples = fields.get("public")
    if not isinstance(examples, dict) or not isinstance(examples.get("file"), str):
        return fields
    path = Path(examples["file"]).expanduser() if public is None else Path(public).absolute()
    return {**fields, "public": {**examples, "file": str(folder / path)}}


def _place_error(file: Path, document: YamlDocument, place: FieldPath, message: str) -> ScenarioError:
    return ScenarioError(f"{str(file)!r}, line {document.find_line(place)}: {message}", where=place)
