"""A test's calls in a file of the repository: JSON that people read, edit and see the difference of.

    {"calls": [{"id": 1, "name": "answer", "kind": "chain", "input": {…}}, {"id": 2, "inside": 1, …, "output":
    "…"}], "format": 1}

Calls stand in the order of their starts, those that ran at once by name and input, and carry no times or ids
of their own: recorded again, an unchanged test gives the same bytes. A text of several lines is `{"$lines":
["…", "…"]}`. Outputs stand only where they are served.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from typing import TYPE_CHECKING, Any

from llm_trace.errors import CassetteError
from llm_trace.replays.tape import Taped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

FORMAT = 1
_AGAIN = "record it again: pytest --llm-trace=record"
_CALL = {"id": int, "name": str, "kind": str, "input": dict}
_REBUILD = ("output", "stream", "returned", "error")
_OTHERS = {"inside", "output", "error", "status", "rebuild", "model", "usage", "phase"}


def dump(calls: Sequence[Taped], served: frozenset[str]) -> str:
    """Return the text of a cassette.

    Args:
        served: kinds and names of the functions that are answered; what ran inside those is left out.
    """
    numbers: dict[str, int] = {}
    entries = []
    for call in _iter_in_order(calls, served):
        numbers[call.span_id] = len(numbers) + 1
        entries.append(_build_entry(call, numbers, call.kind in served or call.name in served))
    return json.dumps({"calls": entries, "format": FORMAT}, indent=2, ensure_ascii=False) + "\n"


def build_path(place: Path, name: str) -> Path:
    """Return where the cassette of a test, or of a fixture, is: in `cassettes/` beside its file or folder.

    Args:
        place: the test's file, or the package's folder.
        name: of the test in it.
    """
    file = re.sub(r"[^\w.\-]+", "-", name).strip("-")[:150]
    if file != name:  # different parameters must not meet in one file
        file += f"-{zlib.crc32(name.encode('utf-8', 'surrogatepass')):08x}"
    folder = place / "cassettes" if place.is_dir() else place.parent / "cassettes" / place.stem
    return folder / f"{file}.json"


def write(path: Path, text: str) -> None:
    """Put a cassette in its place, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def read(path: Path) -> list[Taped]:
    """Return the calls of a cassette.

    Raises:
        CassetteError: it is missing, of another format, or was edited so that it says nothing; the message
            names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise CassetteError(f"there is no cassette {str(path)!r}: {_AGAIN}") from exc
    try:
        data = json.loads(text)
    except ValueError as exc:
        line = getattr(exc, "lineno", 1)
        raise CassetteError(f"{path}:{line}: this is no JSON ({exc}): mend it, or {_AGAIN}") from exc
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        version = data.get("format") if isinstance(data, dict) else None
        raise CassetteError(
            f"{path}:{_find_line(text, 'format', version)}: the cassette has format {version!r}, "
            f"this llm_trace reads {FORMAT}: {_AGAIN}"
        )
    return [
        _parse_entry(entry, path, text, number) for number, entry in enumerate(_read_entries(data, path), 1)
    ]


def _read_entries(data: dict[str, Any], path: Path) -> list[Any]:
    calls = data.get("calls")
    if not isinstance(calls, list):
        raise CassetteError(f"{path}:1: the list `calls` is missing: mend it, or {_AGAIN}")
    return calls


def _iter_in_order(calls: Sequence[Taped], served: frozenset[str]) -> Iterator[Taped]:
    """Yield each call before those inside it; calls inside a served one do not matter."""
    inside: dict[str | None, list[Taped]] = {}
    known = {call.span_id for call in calls}
    for call in calls:
        inside.setdefault(call.parent_id if call.parent_id in known else None, []).append(call)

    def walk(parent: str | None) -> Iterator[Taped]:
        for call in _iter_steadily(inside.get(parent, ())):
            yield call
            if call.kind not in served and call.name not in served:
                yield from walk(call.span_id)

    return walk(None)


def _iter_steadily(calls: Iterable[Taped]) -> Iterator[Taped]:
    """Yield calls in the order of their starts, and those that overlap in time by name and input."""
    group: list[Taped] = []
    end = 0
    for call in sorted(calls, key=lambda call: call.start_ns):
        if group and call.start_ns >= end:
            yield from sorted(group, key=lambda c: (c.name, c.question, c.start_ns))
            group = []
        group.append(call)
        end = max(end, call.end_ns or 1 << 63)
    yield from sorted(group, key=lambda c: (c.name, c.question, c.start_ns))


def _build_entry(call: Taped, numbers: dict[str, int], served: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": numbers[call.span_id],
        "name": call.name,
        "kind": call.kind,
        "input": json.loads(json.dumps(call.input, sort_keys=True)),  # an answer's order is part of it
    }
    if call.parent_id in numbers:
        entry["inside"] = numbers[call.parent_id]
    if call.phase:
        entry["phase"] = call.phase
    if served:
        rebuild = {name: call.rebuild[name] for name in _REBUILD if name in call.rebuild}
        if "stream" in rebuild:
            rebuild["stream"] = {k: v for k, v in rebuild["stream"].items() if k != "ns"}
        error = {k: v for k, v in (call.error or {}).items() if k != "traceback"}
        optional = (("rebuild", rebuild), ("error", error), ("model", call.model), ("usage", call.usage))
        entry |= {"output": call.output} | {name: value for name, value in optional if value}
        if call.status != "ok":
            entry["status"] = call.status
    return {name: _with_lines(entry[name]) for name in sorted(entry)}


def _parse_entry(entry: Any, path: Path, text: str, number: int) -> Taped:
    fields = entry if isinstance(entry, dict) else {}
    where = f"{path}:{_find_line(text, 'id', fields.get('id', number))}: call {number}"
    for name, cls in _CALL.items():
        if not isinstance(fields.get(name), cls) and not (name == "input" and fields.get(name, 0) is None):
            raise CassetteError(f"{where} has no {name!r} of type {cls.__name__}: mend it, or {_AGAIN}")
    if unknown := fields.keys() - _CALL.keys() - _OTHERS:
        raise CassetteError(f"{where} has an unknown key {min(unknown)!r}: take it out, or {_AGAIN}")
    if "inside" in fields and not (isinstance(fields["inside"], int) and 0 < fields["inside"] < number):
        raise CassetteError(
            f"{where} is inside {fields['inside']!r}, which is no call before it: mend it, or {_AGAIN}"
        )
    if fields["id"] != number:
        raise CassetteError(
            f"{where} has id {fields['id']}: ids count from 1 in order: mend them, or {_AGAIN}"
        )
    plain = {name: _drop_lines(value) for name, value in fields.items()}
    return Taped(
        span_id=str(number),
        parent_id=str(plain["inside"]) if "inside" in plain else None,
        name=plain["name"],
        kind=plain["kind"],
        input=plain["input"],
        output=plain.get("output"),
        status=plain.get("status", "ok"),
        error=plain.get("error"),
        rebuild=plain.get("rebuild") or {},
        start_ns=number,
        end_ns=number,
        model=plain.get("model"),
        usage=plain.get("usage"),
        phase=plain.get("phase"),
    )


def _find_line(text: str, key: str, value: Any) -> int:
    """Return the line where a key has this value, 1 where it has none."""
    match = re.search(rf'"{key}"\s*:\s*{re.escape(json.dumps(value))}\b', text)
    return text.count("\n", 0, match.start()) + 1 if match else 1


def _with_lines(value: Any) -> Any:
    """Return JSON with texts of several lines as lists of lines, each on a line of its own in the file."""
    if isinstance(value, str) and "\n" in value:
        return {"$lines": value.split("\n")}
    if isinstance(value, list):
        return [_with_lines(item) for item in value]
    if isinstance(value, dict):
        return (
            {"$data": value}
            if value.keys() & {"$lines", "$data"}
            else {k: _with_lines(v) for k, v in value.items()}
        )
    return value


def _drop_lines(value: Any) -> Any:
    if isinstance(value, list):
        return [_drop_lines(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"$lines"} and isinstance(value["$lines"], list):
        return "\n".join(map(str, value["$lines"]))
    if value.keys() == {"$data"}:
        return value["$data"]
    return {k: _drop_lines(v) for k, v in value.items()}
