"""What of a call can be changed before it runs again, as fields of a form, and what was changed in one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from llm_trace.controls import clean
from llm_trace.errors import ConfigurationError
from llm_trace.rendering.leaves import walk_texts
from llm_trace.replays.load import load
from llm_trace.replays.overrides import Overrides, parse_parameter
from llm_trace.replays.request import ReplayRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from llm_trace.replays.load import Recording
    from llm_trace.replays.tape import Taped
    from llm_trace.stores.duckdb import Store

LONGEST = 100_000
"""Characters of a field that can be edited; what is longer stays as it was."""
FieldSubject = Literal["prompt", "variable", "message", "argument"]
_MODES: dict[str, Literal["mixed", "live", "recorded"]] = {
    "models": "mixed",
    "live": "live",
    "recorded": "recorded",
}


@dataclass(frozen=True)
class ReplayField:
    """A part of a call that can be changed."""

    what: FieldSubject
    name: str
    """Of the prompt, variable or argument."""
    text: str
    index: int = -1
    """Of a message in its argument."""
    role: str = ""
    """Of a message."""
    as_json: bool = False
    """Whether the text is JSON."""

    @property
    def key(self) -> str:
        """Name of the field in the form."""
        return f"{self.what}.{self.index}.{self.name}"

    def read(self, form: Mapping[str, str]) -> Any:
        """Return what the form has in its place, `None` where nothing was changed.

        Raises:
            ConfigurationError: it should be JSON and is none.
        """
        typed = _normalise(form.get(self.key, self.text))
        if typed in (_normalise(self.text), _normalise(clean(self.text))):
            return None
        if not self.as_json:
            return typed
        try:
            return json.loads(typed)
        except ValueError as exc:
            raise ConfigurationError(f"{self.what} {self.name!r} is no JSON: {exc}") from exc


def _normalise(text: str) -> str:
    """Return a text with the line ends that a form may change made one."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


class ReplayForm:
    """The fields of a call.

    Raises:
        NotFoundError: there is no such call.
        ReplayError: its record is masked and cannot be read.
    """

    def __init__(self, store: Store, span_id: str) -> None:
        self.store = store
        self.recording: Recording = load(store, span_id)
        self.root: Taped = self.recording.roots[0]
        self.models = sorted({c.model for c in self.recording.tape.calls.values() if c.model})
        self.fields = tuple(self._list_fields())

    def _list_fields(self) -> Iterator[ReplayField]:
        used = self.root.prompt or {}
        rendered = Overrides().render_prompts(self.root, self.recording.templates)
        yield from self._list_prompts()
        if rendered:
            for name, value in (used.get("variables") or {}).items():
                yield _build_field("variable", name, value)
        arguments = self.root.input if isinstance(self.root.input, dict) else {}
        for name, value in arguments.items():
            if rendered and rendered[0] in walk_texts(value):
                continue  # it is made from the prompt
            yield from _list_argument(name, value)

    def _list_prompts(self) -> Iterator[ReplayField]:
        """Yield the templates of the call and of those inside it, each once."""
        used = {
            (call.prompt["name"], call.prompt["version"])
            for call in self.recording.tape.calls.values()
            if call.prompt
        }
        for name, version in sorted(used):
            template = self.recording.templates.get((name, version))
            if template is not None:
                yield ReplayField("prompt", name, template)

    def build_request(self, form: Mapping[str, str]) -> ReplayRequest:
        """Return what a form asks to run.

        Raises:
            ConfigurationError: it cannot be meant.
            ReplayError: a parameter that is no NAME=VALUE.
        """
        if form.get("mode", "models") not in _MODES:
            raise ConfigurationError(f"mode {form['mode']!r} is none of {', '.join(_MODES)}")
        changes: dict[str, dict[str, Any]] = {"prompt": {}, "variable": {}, "argument": {}}
        for entry in self.fields:
            value = entry.read(form)
            if value is None:
                continue
            if entry.what == "message":
                messages = changes["argument"].setdefault(
                    entry.name, json.loads(json.dumps(self.root.input[entry.name]))
                )
                messages[entry.index]["content"] = value
            else:
                changes[entry.what][entry.name] = value
        if form.get("mode") == "recorded" and any((*changes.values(), form.get("model"), form.get("params"))):
            raise ConfigurationError(
                "where all is answered from the record no change has an effect: choose what runs"
            )
        lines = filter(None, map(str.strip, form.get("params", "").splitlines()))
        return ReplayRequest(
            store=self.store.address,
            span_ids=(self.root.span_id,),
            function=form.get("function", ""),
            mode=_MODES[form.get("mode", "models")],
            model=form.get("model", "").strip() or None,
            params=dict(map(parse_parameter, lines)),
            prompts=changes["prompt"],
            variables=changes["variable"],
            arguments=changes["argument"],
        )


def _list_argument(name: str, value: Any) -> Iterator[ReplayField]:
    """Yield the fields of an argument: of messages one for each text."""
    if isinstance(value, list) and value and all(isinstance(m, dict) and "role" in m for m in value):
        for index, message in enumerate(value):
            text = message.get("content")
            if isinstance(text, str) and len(text) <= LONGEST:
                yield ReplayField("message", name, text, index, str(message["role"]))
        return
    field = _build_field("argument", name, value)
    if len(field.text) <= LONGEST:
        yield field


def _build_field(what: FieldSubject, name: str, value: Any) -> ReplayField:
    if isinstance(value, str):
        return ReplayField(what, name, value)
    text = json.dumps(value, indent=1, ensure_ascii=False, default=str)
    return ReplayField(what, name, text, as_json=True)
