"""Expressions and templates of scenarios: Jinja's, in its sandbox, where a name that is unknown is an error.

Nothing random and nothing of the machine can be reached, so that equal slots give equal texts.
"""

from __future__ import annotations

import datetime
import difflib
import functools
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from llm_trace.errors import MissingExtraError, ScenarioError
from llm_trace.evaluation.instances import to_json_value

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

SlotValues = Mapping[str, Any]
FieldPath = tuple[str | int, ...]
Compiled = Callable[[SlotValues], Any]
LARGEST_POWER, LONGEST = 10_000, 1_000_000
"""Bits of a power, and items or characters of a repetition, beyond which an expression is refused."""
_ALONE = re.compile(r"\{\{[-+]?((?:(?!\}\}|\{\{).)*?)[-+]?\}\}", re.DOTALL)
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs, "float": float, "int": int, "len": len, "max": max, "min": min, "round": round,
    "sorted": sorted, "str": str, "sum": sum, "zip": zip,
    "parse_date": datetime.date.fromisoformat, "add_days": lambda day, n: day + datetime.timedelta(days=n),
}  # fmt: skip


@functools.cache
def get_environment() -> ImmutableSandboxedEnvironment:
    """Return the sandbox that everything is compiled in.

    Raises:
        MissingExtraError: Jinja is not installed.
    """
    try:
        from jinja2 import StrictUndefined
        from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
    except ModuleNotFoundError as exc:
        raise MissingExtraError("scenarios need jinja2: pip install 'llm-trace[evaluation]'") from exc

    class Sandbox(ImmutableSandboxedEnvironment):
        """Refuses powers and repetitions that would take all memory."""

        intercepted_binops = frozenset(("**", "*"))

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            check_size(operator, left, right)
            return super().call_binop(context, operator, left, right)

    environment = Sandbox(
        undefined=StrictUndefined, autoescape=False, keep_trailing_newline=False, finalize=_show_value
    )
    environment.globals = {"range": safe_range, **_FUNCTIONS}
    del environment.filters["random"]
    for name in ("int", "float"):
        environment.filters[name] = _make_strict(name, environment.filters[name])
    return environment


def _show_value(value: Any) -> Any:
    """Return what a text shows of a value, so that no address of the machine comes into it.

    Raises:
        TypeError: nothing can be shown, as of a function.
    """
    from jinja2 import Undefined

    if value is None or isinstance(
        value, str | int | float | list | tuple | dict | datetime.date | Undefined
    ):
        return value
    if isinstance(value, Iterable) and not isinstance(value, bytes):  # such as that of `| map`
        return list(value)
    raise TypeError(f"{type(value).__name__} {getattr(value, '__name__', value)!r} is no text and no number")


def _make_strict(name: str, convert: Callable[..., Any]) -> Callable[..., Any]:
    """Return the filter `int` or `float` that refuses what is no number unless it is given a default."""

    def convert_number(value: Any, *arguments: Any, **named: Any) -> Any:
        if not arguments and "default" not in named:
            (int if name == "int" and not isinstance(value, str) else float)(value)
        return convert(value, *arguments, **named)

    return convert_number


def check_size(operator: str, left: Any, right: Any) -> None:
    """Refuse a power or a repetition whose result is too large to be meant.

    Raises:
        OverflowError: it is.
    """
    if operator == "**":
        large = isinstance(left, int) and isinstance(right, int) and left.bit_length() * right > LARGEST_POWER
    else:
        pairs = ((left, right), (right, left))
        large = any(
            isinstance(many, str | list | tuple) and isinstance(times, int) and len(many) * times > LONGEST
            for many, times in pairs
        )
    if large:
        raise OverflowError("the result would be too large")


@functools.lru_cache(maxsize=4096)
def compile_expression(text: str) -> Compiled:
    """Return an expression such as `days * 2` as a function of the slots' values.

    Raises:
        ScenarioError: it cannot be read.
    """
    from jinja2 import TemplateSyntaxError, Undefined

    environment = get_environment()
    try:
        environment.compile_expression(text)
        template = environment.from_string(f"{{% set result = ({text}) %}}")
    except TemplateSyntaxError as exc:
        raise ScenarioError(f"{text!r} is no expression: {exc.message}") from exc

    def evaluate_expression(values: SlotValues) -> Any:
        context = template.new_context({**environment.globals, **values}, shared=True)
        for _ in template.root_render_func(context):
            pass
        value = context.vars["result"]
        if isinstance(value, Undefined):
            str(value)  # a strict one raises with its name
        return value

    if text.isidentifier():  # a slot alone, as most are: no need for Jinja's context
        return lambda values: values[text] if text in values else evaluate_expression(values)
    return evaluate_expression


@functools.lru_cache(maxsize=4096)
def compile_text(text: str) -> Compiled:
    """Return a template as a function of the slots' values; `{{ … }}` alone gives the value itself, so that
    numbers stay numbers.

    Raises:
        ScenarioError: it cannot be read.
    """
    from jinja2 import TemplateSyntaxError

    if not is_template(text):
        return lambda values: text  # noqa: ARG005
    if (alone := _ALONE.fullmatch(text.strip())) is not None:
        return compile_expression(alone[1].strip())
    environment = get_environment()
    try:
        template = environment.from_string(text)
    except TemplateSyntaxError as exc:
        line = f" (line {exc.lineno} of the text)" if exc.lineno > 1 else ""
        raise ScenarioError(f"the template cannot be read{line}: {exc.message}") from exc

    def render_text(
        values: SlotValues,
    ) -> str:  # `shared`: else Jinja copies the globals one by one each time
        context = template.new_context({**environment.globals, **values}, shared=True)
        return "".join(template.root_render_func(context))

    return render_text


def is_template(text: str) -> bool:
    """Return whether a text has anything for Jinja in it."""
    return any(sign in text for sign in ("{{", "{%", "{#"))


def compile_answer(value: Any) -> Compiled:
    """Return what is expected as a function of the slots' values: a text with `{{` or `{%` is a template, any
    other an expression; lists and mappings hold such, all else is itself.
    """
    if isinstance(value, str) and not is_template(value):
        return compile_expression(value)
    return compile_value(value) if isinstance(value, str) else _compile_parts(value, compile_answer)


def compile_value(value: Any) -> Compiled:
    """Return an argument as a function of the slots' values: texts are templates, also inside lists and
    mappings.
    """
    return compile_text(value) if isinstance(value, str) else _compile_parts(value, compile_value)


def _compile_parts(value: Any, compile_part: Callable[[Any], Compiled]) -> Compiled:
    if isinstance(value, Mapping):
        parts = {str(key): compile_part(item) for key, item in value.items()}
        return lambda values: {key: part(values) for key, part in parts.items()}
    if isinstance(value, list | tuple):
        items = [compile_part(item) for item in value]
        return lambda values: [item(values) for item in items]
    return lambda values: value  # noqa: ARG005


def check_names(value: Any, known: Collection[str], where: FieldPath, *, template: bool) -> None:
    """Check that expressions or templates can be read and use nothing but slots that are known there.

    Raises:
        ScenarioError: one does; the message names the nearest slot.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            check_names(item, known, (*where, str(key)), template=template)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            check_names(item, known, (*where, number), template=template)
    elif isinstance(value, str):
        _check_text(value, known, where, template=template or is_template(value))


def _check_text(text: str, known: Collection[str], where: FieldPath, *, template: bool) -> None:
    from jinja2 import TemplateError, meta

    environment = get_environment()
    try:
        (compile_text if template else compile_expression)(text)
        parsed = environment.parse(text if template else f"{{{{ {text} }}}}")
    except (ScenarioError, TemplateError) as exc:
        raise ScenarioError(str(exc), where=where) from exc
    unknown = meta.find_undeclared_variables(parsed) - set(known) - set(environment.globals)
    for name in sorted(unknown):
        raise ScenarioError(refuse_unknown(name, text, known, template=template), where=where)


def list_free_names(value: Any) -> set[str]:
    """Return the names that the templates in a value depend on."""
    from jinja2 import meta

    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return set().union(*map(list_free_names, value))
    return meta.find_undeclared_variables(get_environment().parse(value)) if isinstance(value, str) else set()


def refuse_unknown(name: str, text: str, known: Collection[str], *, template: bool) -> str:
    """Return the complaint about a name that is no slot."""
    near = difflib.get_close_matches(name, known, 1)
    remedy = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known) or 'none'}"
    if not template and not near and text.strip() == name:
        remedy += f"; for the text itself write \"'{text}'\""
    return f"{name!r} in {text!r} is no slot that is known here: {remedy}"


def compute_json(function: Compiled, values: SlotValues, where: FieldPath, what: str) -> Any:
    """Return a compiled expression's value as JSON has it.

    Raises:
        ScenarioError: it cannot be computed; the message names the values.
    """
    try:
        return to_json_value(compute(function, values, where, what))
    except TypeError as exc:
        raise ScenarioError(f"{what}: {exc}", where=where) from exc


def compute(function: Compiled, values: SlotValues, where: FieldPath, what: str) -> Any:
    """Return a compiled expression's value.

    Raises:
        ScenarioError: it cannot be computed; the message names the values.
    """
    try:
        return function(values)
    except Exception as exc:
        raise describe_expression_failure(exc, values, where, what) from exc


def describe_expression_failure(
    exc: Exception, values: SlotValues, where: FieldPath, what: str
) -> ScenarioError:
    """Return the complaint about something that could not be computed, with the values that it was of."""
    shown = ", ".join(f"{name}={value!r}" for name, value in values.items())
    return ScenarioError(
        f"{what} cannot be computed for {shown[:300]}: {type(exc).__name__}: {exc}", where=where
    )
