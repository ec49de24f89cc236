"""Examples to compare on: inputs, what is expected of them, and tags; versioned by content."""

from __future__ import annotations

import csv
import hashlib
from codecs import BOM_UTF8
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import orjson
from pydantic import ValidationError

from llm_trace.errors import ConfigurationError
from llm_trace.record import Record
from llm_trace.spool.private import open_private

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from llm_trace.stores.duckdb import Store


class Example(Record):
    """One input with what is expected of it."""

    input: dict[str, Any]
    """Arguments by name."""
    expected: Any = None
    """The output that is right; `None` where that is not known."""
    tags: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """First 12 hex digits of the SHA-256 of the input as JSON with sorted keys."""
        return _hash(_make_canonical(self.input))


@dataclass(frozen=True)
class Dataset:
    """Examples in their order; iterating gives them. Made by `load`, `from_calls`, or from `Example`s.

    Args:
        name: what it is called; two versions may share it.
        examples: each input once.
    """

    name: str
    examples: tuple[Example, ...]

    @property
    def version(self) -> str:
        """First 12 hex digits of the SHA-256 of the examples: another example, order or tag changes it."""
        return _hash(b"\n".join(map(_encode_line, self.examples)))

    def __iter__(self) -> Iterator[Example]:
        return iter(self.examples)

    def __len__(self) -> int:
        return len(self.examples)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, name: str | None = None) -> Self:
        """Return the examples of a file.

        JSON Lines hold `{"input": {…}, "expected": …, "tags": […]}`. In CSV the columns `expected` and `tags`
        (separated by blanks) may be left out, every other column is an argument; its cells also stand for the
        numbers that they spell.

        Raises:
            ConfigurationError: a line that is no example, or repeats an input; named by its number.
        """
        file = Path(path)
        rows = _from_csv(file) if file.suffix.lower() == ".csv" else _from_jsonl(file)
        return cls(name or file.stem, _write_each_once(file, rows))

    @classmethod
    def from_calls(cls, name: str, store: Store, /, *, expected: bool = False, **filters: Any) -> Self:
        """Return the inputs of calls, each once, oldest first.

        Args:
            name: of the dataset.
            store: where the calls are.
            expected: take what a call returned for what is right, as of calls that a person has approved.
            filters: arguments of `Store.calls`; `limit` is none unless given.
        """
        calls = store.calls(**{"limit": None, **filters})
        examples: dict[str, Example] = {}
        for call in reversed(calls):
            inputs = call.input if isinstance(call.input, dict) else {"input": call.input}
            example = Example(input=inputs, expected=call.output if expected else None, tags=call.tags)
            examples.setdefault(example.id, example)
        return cls(name, tuple(examples.values()))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the examples as JSON Lines, for their owner only where the file is new."""
        with open_private(Path(path), "wb") as file:
            file.writelines(_encode_line(example) + b"\n" for example in self.examples)

    def example_of(self, arguments: Any) -> Example | None:
        """Return the example that a call's input holds; further arguments, such as a version, are ignored."""
        if not isinstance(arguments, dict):
            return None
        fitting = [names for names in self._arguments if arguments.keys() >= set(names)]
        inputs = [{name: arguments[name] for name in names} for names in fitting]
        inputs += [
            {name: as_text(value) for name, value in one.items()} for one in inputs
        ]  # cells of CSV are texts
        ids = (_hash(_make_canonical(one)) for one in inputs)
        return next((self._by_id[id_] for id_ in ids if id_ in self._by_id), None)

    def with_id(self, id_: str) -> Example:
        """Return the example with that id."""
        return self._by_id[id_]

    @cached_property
    def _arguments(self) -> list[tuple[str, ...]]:
        """The sets of arguments that examples have, largest first."""
        return sorted(
            {tuple(sorted(example.input)) for example in self.examples},
            key=lambda names: (-len(names), names),
        )

    @cached_property
    def _by_id(self) -> dict[str, Example]:
        return {example.id: example for example in self.examples}


def as_text(value: Any) -> Any:
    """Return a number, a yes or a no as a cell of CSV, such as `3` and `true`, all else as it is."""
    return orjson.dumps(value).decode() if isinstance(value, (bool, int, float)) else value


def _from_jsonl(path: Path) -> Iterator[tuple[int, Example]]:
    for number, line in enumerate(path.read_bytes().removeprefix(BOM_UTF8).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield number, Example.model_validate(orjson.loads(line))
        except (orjson.JSONDecodeError, ValidationError) as exc:
            why = exc.errors()[0] if isinstance(exc, ValidationError) else None
            problem = f"{'.'.join(map(str, why['loc']))}: {why['msg']}" if why else str(exc)
            raise ConfigurationError(f"{str(path)!r}, line {number}: {problem}") from exc


def _from_csv(path: Path) -> Iterator[tuple[int, Example]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        names = list(reader.fieldnames or ())
        if twice := [name for i, name in enumerate(names) if name in names[:i]]:
            raise ConfigurationError(f"{str(path)!r} has two columns {twice[0]!r}: rename or remove one")
        for row in reader:
            if None in row or None in row.values():
                raise ConfigurationError(
                    f"{str(path)!r}, line {reader.line_num}: it has not as many cells as the header"
                )
            expected, tags = row.pop("expected", None), row.pop("tags", "")
            yield reader.line_num, Example(input=row, expected=expected or None, tags=tuple(tags.split()))


def _write_each_once(path: Path, rows: Iterable[tuple[int, Example]]) -> tuple[Example, ...]:
    seen: dict[str, int] = {}
    examples = []
    for number, example in rows:
        if example.id in seen:
            raise ConfigurationError(
                f"{str(path)!r}, line {number}: the same input as in line {seen[example.id]}: keep one of "
                f"them"
            )
        seen[example.id] = number
        examples.append(example)
    return tuple(examples)


def _encode_line(example: Example) -> bytes:
    return _make_canonical(example.model_dump(mode="json", exclude_defaults=True))


def _make_canonical(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]
