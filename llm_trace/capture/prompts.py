"""Prompt templates: rendered text that knows where its variables stand, found again after concatenation."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_trace.capture import failures, slots
from llm_trace.capture.callspan import current_call
from llm_trace.capture.context import SCOPE_KEY, variable

if TYPE_CHECKING:
    from llm_trace.call_parts import TextOrigin
    from llm_trace.capture.protocols import CallRecorder, Template

SHORTEST = 16
"""Characters that a prompt must have to be looked for in a text: a shorter one stands in others by chance."""
_REMEMBERED = 8
_FIELD = re.compile(r"[^\W\d]\w*(?=[.\[]|$)")
in_use = False
"""Whether a prompt was rendered in this process: until then no call's arguments are searched."""


class Rendered(str):
    """A rendered prompt: a `str` with `prompt`, `variables` (name to value), `spans` (name to offsets) and
    `origins` (name to whose words it holds).
    """

    __slots__ = ("origins", "prompt", "spans", "variables")
    prompt: Template
    variables: dict[str, Any]
    spans: dict[str, tuple[int, int]]
    origins: Mapping[str, TextOrigin]


class Rendering(NamedTuple):
    """A prompt that was rendered, and where: for which recorder, in which session, in which trace."""

    rendered: Rendered
    recorder: CallRecorder
    scope: Any
    trace_id: str | None


renderings: ContextVar[tuple[Rendering, ...]] = ContextVar("llm_trace_renderings", default=())
"""Prompts rendered lately in this context, newest last; an input made of one was made with it."""


@dataclass(frozen=True)
class Prompt:
    """A named template. Its version is its hash, so an edited template is a new version by itself.

    Args:
        name: what the prompt is called in the store.
        template: text with `{variables}` as in `str.format`; `{{` and `}}` are braces.
        origins: whose words variables hold, such as `{"page": "outside"}`: `system`, `user`, `tool`,
            `retrieved` or `outside`. Calls made with the prompt have them under `origins` in their metadata.

    Raises:
        ValueError: the template has an unbalanced brace or a variable without a name, or an origin is none.
    """

    name: str
    template: str
    origins: Mapping[str, TextOrigin] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if self.origins:
            self._check_origins()
        for _, place, _, _ in string.Formatter().parse(self.template):
            if place is not None and not _FIELD.match(place):
                raise ValueError(
                    f"prompt {self.name!r} has a variable without a name, {{{place}}}: write {{name}}, or "
                    f"{{{{ }}}} for braces"
                )

    def _check_origins(self) -> None:
        from llm_trace.call_parts import ORIGINS

        fields = {get_variable(name) for _, name, _, _ in string.Formatter().parse(self.template) if name}
        for name, origin in self.origins.items():
            if name not in fields or origin not in ORIGINS:
                raise ValueError(
                    f"prompt {self.name!r} has origins[{name!r}]={origin!r}: name a variable of the template "
                    f"({', '.join(sorted(fields)) or 'none'}) and one of {', '.join(ORIGINS)}"
                )

    @property
    def version(self) -> str:
        """First 12 hex digits of the SHA-256 of the template."""
        import hashlib

        return hashlib.sha256(self.template.encode("utf-8", "surrogatepass")).hexdigest()[:12]

    def format(self, **variables: Any) -> Rendered:
        """Return the template with its variables filled in.

        Raises:
            KeyError: a variable of the template was not given.
        """
        prompt = self if slots.interceptor is None else slots.interceptor.prompt(self)
        parts: list[str] = []
        spans: dict[str, tuple[int, int]] = {}
        formatter, at = string.Formatter(), 0
        for literal, place, spec, conversion in formatter.parse(prompt.template):
            parts.append(literal)
            at += len(literal)
            if place is None:
                continue
            value, _ = formatter.get_field(place, (), variables)
            if conversion:
                value = formatter.convert_field(value, conversion)
            text = format(value, (spec and spec.format(**variables)) or "")
            spans[place] = (at, at + len(text))
            parts.append(text)
            at += len(text)
        rendered = Rendered("".join(parts))
        rendered.prompt, rendered.variables, rendered.spans = prompt, variables, spans
        rendered.origins = self.origins
        _note(rendered)
        return rendered


def _note(rendered: Rendered) -> None:
    global in_use
    in_use = True
    recorder = slots.recorder
    if recorder is None:
        return
    try:
        if len(rendered) >= SHORTEST:
            call = current_call()
            rendering = Rendering(
                rendered, recorder, variable.get().get(SCOPE_KEY), call.trace_id if call else None
            )
            renderings.set((*renderings.get()[1 - _REMEMBERED :], rendering))
        _write_template(rendered.prompt)
    except Exception as exc:
        failures.note("a prompt", exc)


def _write_template(prompt: Template) -> None:
    """Write the template to the spool when this process first uses it with this recorder."""
    recorder = slots.recorder
    key = (prompt.name, prompt.version)
    if recorder is None or not recorder.capture_content or key in recorder.announced:
        return
    import time

    recorder.announced.add(key)
    recorder.event(
        {
            "event": "prompt",
            "name": prompt.name,
            "version": prompt.version,
            "template": prompt.template,
            "time_ns": time.time_ns(),
        }
    )


def find_prompt_fields(
    arguments: dict[str, Any], prompt: Template | None, recorder: CallRecorder, trace_id: str, scope: Any
) -> dict[str, Any]:
    """Return `{"prompt": …}` for a call whose arguments hold a rendered prompt, and its `origins` if it has
    any; else what the decorator names, else {}.

    A text that was put together from a rendered prompt is known again where the prompt was rendered in the
    same context, session and trace (or before the trace began), stands in the text between other words, and
    is no shorter than `SHORTEST`; of several the longest.
    """
    texts = list(_iter_texts(arguments))
    for text in texts:
        if type(text) is Rendered:
            return _describe_use(text, text.variables)
    matches = [
        each.rendered
        for each in reversed(renderings.get())
        if each.recorder is recorder and each.scope == scope and each.trace_id in (None, trace_id)
        if prompt is None or each.rendered.prompt == prompt
        if any(_check_holds(text, each.rendered) for text in texts)
    ]
    if matches:
        rendered = max(matches, key=len)
        in_text = {get_variable(name) for name in rendered.spans}
        variables = {name: value for name, value in rendered.variables.items() if name in in_text}
        return _describe_use(rendered, variables)
    if prompt is None:
        return {}
    _write_template(prompt)
    wanted = [f for _, f, _, _ in string.Formatter().parse(prompt.template) if f]
    variables = {f: arguments[f] for f in wanted if f in arguments}
    use = {"prompt": {"name": prompt.name, "version": prompt.version, "variables": variables}}
    return use | ({"origins": dict(prompt.origins)} if isinstance(prompt, Prompt) and prompt.origins else {})


def _describe_use(rendered: Rendered, variables: dict[str, Any]) -> dict[str, Any]:
    prompt = {"name": rendered.prompt.name, "version": rendered.prompt.version, "variables": variables}
    return {"prompt": prompt} | ({"origins": dict(rendered.origins)} if rendered.origins else {})


def get_variable(name: str) -> str:
    """Return the variable of a field such as `page.title` or `pages[0]`."""
    return name.partition(".")[0].partition("[")[0]


def _check_holds(text: str, rendered: str) -> bool:
    """Whether a text holds a rendered prompt that no word runs into."""
    at = text.find(rendered)
    while at >= 0:
        end = at + len(rendered)
        inside = at > 0 and text[at - 1].isalnum() and rendered[0].isalnum()
        runs_on = end < len(text) and text[end].isalnum() and rendered[-1].isalnum()
        if not (inside or runs_on):
            return True
        at = text.find(rendered, at + 1)
    return False


def _iter_texts(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield the texts in a value by its type: `isinstance` would ask a lazy object for its `__class__`."""
    cls = type(value)
    if cls is str or cls is Rendered:
        yield value
    elif issubclass(cls, str):
        yield str.__str__(value)  # without the methods of its own class
    elif depth < 5 and issubclass(cls, dict):
        for item in islice(dict.values(value), 50):
            yield from _iter_texts(item, depth + 1)
    elif depth < 5 and issubclass(cls, (list, tuple)):
        read = list.__getitem__ if issubclass(cls, list) else tuple.__getitem__
        for item in read(value, slice(-50, None)):
            yield from _iter_texts(item, depth + 1)
