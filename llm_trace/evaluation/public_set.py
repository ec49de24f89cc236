"""The fixed public set of a scenario: examples that anybody, a model's training too, may have seen."""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from llm_trace.call_parts import Record
from llm_trace.errors import ScenarioError
from llm_trace.evaluation.expressions import compile_answer, compile_value, compute_json
from llm_trace.evaluation.instances import Instance, dump_sorted_json


class PublicExample(Record):
    """One example with its answer, both as they are."""

    input: dict[str, Any]
    expected: Any = None


class PublicFile(Record):
    """A JSON Lines file, and how its lines become examples."""

    file: str
    """Beside the scenario file, or an absolute path."""
    input: dict[str, Any] = Field(min_length=1)
    """Arguments; templates over the fields of a line."""
    expected: Any = None
    """Expression or template over the fields of a line, as in the scenario."""


def _find_form(public: Any) -> str:
    return "a file" if isinstance(public, PublicFile | Mapping) else "examples"


PublicSet = Annotated[
    Annotated[tuple[PublicExample, ...], Tag("examples")] | Annotated[PublicFile, Tag("a file")],
    Discriminator(_find_form),
]


def read_public(public: PublicSet, where: tuple[str | int, ...] = ("public",)) -> Sequence[PublicExample]:
    """Return all examples.

    Raises:
        ScenarioError: the file is missing, or a line is no example; named by its number.
    """
    if not isinstance(public, PublicFile):
        return public
    return [
        _parse_line(public, number, line, where)
        for number, line in enumerate(
            read_public_file(public, where).removeprefix(codecs.BOM_UTF8).splitlines(), start=1
        )
        if line.strip()
    ]


def read_public_file(public: PublicFile, where: tuple[str | int, ...] = ("public",)) -> bytes:
    """Return the bytes of the file.

    Raises:
        ScenarioError: it cannot be read.
    """
    try:
        return Path(public.file).expanduser().read_bytes()
    except OSError as exc:
        raise ScenarioError(
            f"the public set {public.file!r} cannot be read ({exc.strerror}): correct the path, or give "
            "another one (public=, on the command line --public)",
            where=(*where, "file"),
        ) from exc


def _parse_line(public: PublicFile, number: int, line: bytes, where: tuple[str | int, ...]) -> PublicExample:
    place = f"{public.file!r}, line {number}"
    try:
        fields = json.loads(line.decode())  # with integers of any size
    except ValueError as exc:
        raise ScenarioError(f"{place}: no JSON: {exc}", where=(*where, "file")) from exc
    if not isinstance(fields, dict):
        raise ScenarioError(f"{place}: {fields!r} is no JSON object", where=(*where, "file"))
    return PublicExample(
        input=compute_json(compile_value(public.input), fields, (*where, "input"), f"{place}: input"),
        expected=compute_json(
            compile_answer(public.expected), fields, (*where, "expected"), f"{place}: expected"
        ),
    )


def hash_public(public: PublicSet | None) -> str:
    """Return a hash of the examples as they stand now, whatever the path of their file."""
    if isinstance(public, PublicFile):
        mapping = dump_sorted_json([public.input, public.expected])
        return hashlib.sha256(mapping + read_public_file(public)).hexdigest()
    examples = [example.model_dump() for example in public or ()]
    return hashlib.sha256(dump_sorted_json(examples)).hexdigest()


def make_public_instances(
    scenario: str, examples: Sequence[PublicExample], n: int, seed: int
) -> list[Instance]:
    """Return at most n examples as instances, chosen by the seed, in their order."""
    chosen = Random(f"{scenario}:{seed}:public").sample(range(len(examples)), min(n, len(examples)))
    return [
        Instance(
            id=f"{scenario}/public/{number + 1}", scenario=scenario, variant="public",
            input=examples[number].input, expected=examples[number].expected,
        )
        for number in sorted(chosen)
    ]  # fmt: skip
