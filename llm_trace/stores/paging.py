"""Read many calls a page at a time, newest first, without making records: DuckDB builds their JSON.

A page is found by the start of its oldest call, so each query looks only at its part of the store.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_trace import semconv
from llm_trace.spool.messages import MessagePlaces
from llm_trace.stores import rows
from llm_trace.stores.columns import CALLS
from llm_trace.stores.search import begin_of_window, find_matches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from duckdb import DuckDBPyConnection

    from llm_trace.record import Call
    from llm_trace.stores.filters import Filter

LAST = 2**63 - 1
_PLACE = re.compile(r'\{"\$messages": ?\[(\d{1,9}), ?(\d{1,9})\]\}')
_COMMIT = (
    "coalesce(code_commit, (SELECT any_value(environment ->> '$.git_commit') FROM runs "
    "WHERE runs.id = calls.run))"
)
_TALK = ("input", "output", "messages_in", "messages_out")
_ERROR = """CASE WHEN error_type IS NOT NULL THEN
    json_object('type', error_type, 'message', error_message, 'traceback', error_traceback) END"""
_PROMPT = """CASE WHEN prompt_name IS NOT NULL THEN json_object(
    'name', prompt_name, 'version', coalesce(prompt_version, ''), 'variables',
    CASE WHEN json_type(prompt_variables) = 'OBJECT' THEN prompt_variables ELSE '{}'::JSON END) END"""
_TAGS = "to_json(list_filter(coalesce(tags, []), lambda tag: tag IS NOT NULL))"
TALK = "input::TEXT, output::TEXT, messages_in, messages_out"
"""The columns that only `Spoken` can put together."""
HEAD = f"""json_object(
    'trace_id', coalesce(trace_id, repeat('0', 32)), 'span_id', span_id, 'parent_id', parent_id,
    'name', coalesce(name, 'unknown'), 'kind', kind, 'start_ns', start_ns, 'end_ns', end_ns, 'status', status,
    'error', {_ERROR}, 'model', model, 'provider', provider,
    'params', CASE WHEN json_type(params) = 'OBJECT' THEN params ELSE '{{}}'::JSON END,
    'usage', CASE WHEN coalesce(
        input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens) IS NOT NULL
        THEN json_object(
            'input_tokens', input_tokens, 'output_tokens', output_tokens,
            'cache_read_tokens', cache_read_tokens, 'cache_write_tokens', cache_write_tokens,
            'reasoning_tokens', reasoning_tokens, 'details', coalesce(usage_details, '{{}}'::JSON),
            'tier', tier) END,
    'cost_usd', cost_usd, 'cost_basis', cost_basis, 'first_token_ns', first_token_ns, 'prompt', {_PROMPT},
    'session', session, 'user', "user", 'tags', {_TAGS},
    'metadata', CASE WHEN json_type(metadata) = 'OBJECT' THEN metadata ELSE '{{}}'::JSON END, 'run', run,
    'code', CASE WHEN code_function IS NOT NULL THEN json_object(
        'function', code_function, 'file', code_file, 'line', code_line, 'commit', {_COMMIT}) END,
    'replay_of', replay_of)::TEXT"""
"""A call as JSON, all but its input, output and messages."""
_NULLABLE = (
    "trace_id", "name", "prompt_version", "prompt_variables", "params", "tags", "metadata", "code_commit",
)  # fmt: skip
_ABSENT = ", ".join(f"CASE WHEN {name} IS NULL THEN '{name}' END" for name in _NULLABLE)
STORED = f"""json_object(
    'absent', list_filter([{_ABSENT}], lambda name: name IS NOT NULL), 'rebuild', rebuild,
    'same', (SELECT list(s.span_id ORDER BY s.span_id) FROM _same s WHERE s.kept = calls.span_id))::TEXT"""
"""What `HEAD` leaves out of a row: which columns are NULL, what a replay needs, which spans it covers."""
_UNCHANGED = (
    "span_id", "trace_id", "parent_id", "name", "kind", "status", "start_ns", "end_ns", "model", "provider",
    "input_tokens", "output_tokens", "cost_usd", "run", "session",
)  # fmt: skip
FLAT = {name: name for name in _UNCHANGED} | {
    "user": '"user"',
    "tags": f"{_TAGS}::TEXT",
    "prompt": f"({_PROMPT})::TEXT",
    "error": f"({_ERROR})::TEXT",
}
"""Columns of a table of calls, with their expressions; what is no number or text is JSON."""
RECORD = {name.strip('"'): _COMMIT if name == "code_commit" else name for name in CALLS if name not in _TALK}
"""Columns of which `records` makes calls."""


class Page(NamedTuple):
    """Some calls: the columns asked for, then those of `TALK`."""

    rows: list[tuple[Any, ...]]
    bodies: rows.Bodies


class Window(NamedTuple):
    """Rows of one page and where the next one ends, `None` after the last."""

    rows: list[tuple[Any, ...]]
    until: int | None


def read_window(
    connection: DuckDBPyConnection, chosen: Filter, text: str | None, columns: str, until: int, size: int
) -> Window:
    """Return about `size` matching calls that began before `until`; a common start is never split."""
    begin = begin_of_window(connection, chosen, until, size)
    near = chosen.and_("start_ns < ?", until)
    if begin is not None:
        near = near.and_("start_ns >= ?", begin)
    if text is not None:
        matches = find_matches(connection, chosen, until, begin, text)
        near = near.and_("span_id IN (SELECT unnest(?))", [span_id for span_id, _ in matches])
    query = f"SELECT {columns}, {TALK} FROM calls WHERE {near.sql} ORDER BY start_ns DESC, span_id"
    return Window(connection.execute(query, near.values).fetchall(), begin)


def load_bodies(connection: DuckDBPyConnection, ids: set[int]) -> rows.Bodies:
    """Return the messages of these ids."""
    query = "SELECT id, role, text, body FROM messages WHERE id IN (SELECT unnest(?))"
    names = ("id", "role", "text", "body")
    picked = connection.execute(query, [sorted(ids)]).fetchall() if ids else []
    return rows.Bodies(
        {row[0]: rows.build_logged_message(dict(zip(names, row, strict=True))) for row in picked}
    )


def list_spoken_ids(rows: Sequence[tuple[Any, ...]]) -> set[int]:
    """Return the ids of the messages that the rows refer to."""
    return {i for row in rows for ids in row[-2:] for i in ids or () if i is not None}


def iter_json_lines(page: Page) -> Iterator[str]:
    """Yield the calls of a page, whose columns are `HEAD` and `STORED`, as JSON."""
    for head, stored, *talk in page.rows:
        spoken = Spoken(page.bodies, *talk)
        yield (
            f'{head[:-1]},"input":{spoken.input or "null"},"output":{spoken.output or "null"},'
            f'"messages_in":{_list(spoken.list_input())},"messages_out":{_list(spoken.list_output())},'
            f'"stored":{stored[:-1]}{spoken.cut()}}}}}\n'
        )


def build_records(page: Page) -> list[Call]:
    """Return the calls of a page, whose columns are those of `RECORD`."""
    names = (*RECORD, *_TALK)
    return [rows.build_call(dict(zip(names, row, strict=True)), page.bodies) for row in page.rows]


class Spoken:
    """What was said in a call.

    Args:
        bodies: the messages that the page refers to.
        arguments: the input's JSON, with places for messages.
        result: the output's.
        ids_in: ids of the messages in the input.
        ids_out: of those in the output.
    """

    def __init__(
        self,
        bodies: rows.Bodies,
        arguments: str | None,
        result: str | None,
        ids_in: list[int | None] | None,
        ids_out: list[int | None] | None,
    ) -> None:
        self.bodies, self.ids_in, self.ids_out = bodies, ids_in, ids_out
        self._raw = {"input": arguments, "output": result}
        self.input, self.output = self._fill_places(arguments, ids_in), self._fill_places(result, ids_out)

    def list_input(self) -> list[str]:
        """Return the messages that went in, normalised, each as JSON."""
        return self._messages(self.input, self.ids_in, "messages_in")

    def list_output(self) -> list[str]:
        """Return the messages that came out."""
        return self._messages(self.output, self.ids_out, "messages_out")

    def cut(self) -> str:
        """Return what was cut out of input and output as more keys of a JSON object: values, places, bodies.

        A body that stands at one of the places is null: it is in the call's input or output.
        """
        pieces = []
        for name, ids, list_name in (
            ("input", self.ids_in, "messages_in"),
            ("output", self.ids_out, "messages_out"),
        ):
            if ids is None:
                continue
            text = self._raw[name] or ""
            places = MessagePlaces(ids)
            placed = {i for m in _PLACE.finditer(text) for i in places.find(int(m[1]), int(m[2])) or ()}
            listed = (
                "null" if i in placed else self.bodies.body_json(number) for i, number in enumerate(ids)
            )
            pieces.append(f',"{name}":{text}' if placed else "")
            pieces.append(f',"{list_name}":{_list(listed)}')
        return "".join(pieces)

    def _fill_places(self, text: str | None, ids: list[int | None] | None) -> str | None:
        if text is None or ids is None:
            return text
        places = MessagePlaces(ids)

        def fill(place: re.Match[str]) -> str:
            positions = places.find(int(place[1]), int(place[2]))
            return place[0] if positions is None else _list(self.bodies.body_json(ids[i]) for i in positions)

        return _PLACE.sub(fill, text)

    def _messages(self, text: str | None, ids: list[int | None] | None, function: str) -> list[str]:
        if ids is not None:
            return [self.bodies.message_json(number) for number in ids]
        if text is None:
            return []
        return [
            rows.encode_message(message) for message in getattr(semconv, function)(rows.parse_value(text))
        ]


def _list(items: Any) -> str:
    return f"[{','.join(items)}]"
