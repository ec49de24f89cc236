"""The settings of an attribution as data: what `attribute` was asked, in forms that JSON keeps, so that a
stored record can be made again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from llm_trace.errors import AttributionError


@dataclass(frozen=True)
class Budget:
    """What an attribution may cost; `None` is no limit."""

    evaluations: int | None = None
    """Distinct perturbed prompts."""
    tokens: int | None = None
    """Tokens that go through the model."""
    seconds: float | None = None
    usd: float | None = None
    """For remote models that have a price."""


@dataclass(frozen=True, init=False)
class Contrast:
    """Why this and not that: log p(this) - log p(that).

    `Contrast("DENY")` asks why the response was said and not DENY; `Contrast("APPROVE", "DENY")` why at this
    place of the response APPROVE stands and not DENY. The pair ("APPROVE", "DENY") says the same.
    """

    this: str | None
    """A text in the response; `None`: all of it."""
    that: str

    def __init__(self, *texts: str) -> None:
        if len(texts) not in (1, 2) or not all(isinstance(t, str) and t for t in texts):
            raise AttributionError(f"a contrast is Contrast(that) or Contrast(this, that), not {texts!r}")
        object.__setattr__(self, "this", texts[0] if len(texts) == 2 else None)
        object.__setattr__(self, "that", texts[-1])


@dataclass(frozen=True)
class Unrecorded:
    """A setting that is no data, such as a function: the record names it, and it cannot be asked again."""

    name: str


def to_form(setting: Any) -> Any:
    """Return a setting as JSON keeps it: a pattern as {"pattern", "flags"}, a contrast as {"contrast"},
    values by name as {"by_name"}, spans and baselines as lists, what is no data as {"unrecorded": its name}.
    """
    if setting is None or isinstance(setting, str | int | float):
        return setting
    if isinstance(setting, re.Pattern):
        return {"pattern": setting.pattern, "flags": setting.flags}
    if isinstance(setting, Contrast):
        return {"contrast": [setting.this, setting.that]}
    if isinstance(setting, Mapping):
        return {"by_name": {str(name): to_form(item) for name, item in setting.items()}}
    if isinstance(setting, list | tuple):
        return [to_form(item) for item in setting]
    if isinstance(setting, BaseModel):  # a segment
        fields = setting.model_dump()
        return [fields["start"], fields["end"], fields["name"]]
    return {"unrecorded": setting.name if isinstance(setting, Unrecorded) else _name_object(setting)}


def from_form(form: Any) -> Any:
    """Return the setting of a form; what is no form is a setting already.

    Raises:
        ValueError: no form of this version.
    """
    if isinstance(form, list | tuple):
        return tuple(from_form(item) for item in form)
    if not isinstance(form, Mapping):
        return form
    match dict(form):
        case {"pattern": str(pattern), "flags": int(flags)}:
            return re.compile(pattern, flags)
        case {"contrast": [this, str(that)]}:
            return Contrast(that) if this is None else Contrast(this, that)
        case {"by_name": Mapping() as items}:
            return {name: from_form(item) for name, item in items.items()}
        case {"unrecorded": str(name)}:
            return Unrecorded(name)
    raise ValueError(f"{form!r} is no form of a setting")


def _name_object(setting: Any) -> str:
    named = setting if hasattr(setting, "__qualname__") else type(setting)
    return f"{named.__module__}:{named.__qualname__}"


Setting = Annotated[Any, BeforeValidator(from_form), PlainSerializer(to_form)]


class Settings(BaseModel):
    """What `attribute` was asked; see there for what each may be."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    method: str = "auto"
    segments: Setting = "word"
    target: Setting = None
    baseline: Setting = "auto"
    unit: str = "nats"
    confidence: float = 0.95
    seed: int = 0
    budget: Budget | None = None

    @classmethod
    def of(cls, *, budget: int | Budget | None = None, **settings: Any) -> Settings:
        """Return the settings that a user gave: a budget may be a number of evaluations, a contrast a pair of
        texts, and values by name a mapping.

        Raises:
            AttributionError: the confidence or the budget is none.
        """
        confidence = settings.get("confidence", 0.95)
        if not 0 < confidence < 1:
            raise AttributionError(f"confidence={confidence!r} must lie between 0 and 1, such as 0.95")
        if budget is not None and not isinstance(budget, int | Budget):
            raise AttributionError(f"budget={budget!r} must be a whole number of evaluations, or a Budget")
        forms = {name: _wrap_mappings(setting) for name, setting in settings.items()}
        limits = Budget(evaluations=budget) if isinstance(budget, int) else budget
        return cls(**forms, budget=limits)

    @property
    def unrecorded(self) -> tuple[str, ...]:
        """The settings that cannot be asked again, with the names of what they were."""
        return tuple(f"{name}={setting.name}" for name, setting in self if isinstance(setting, Unrecorded))

    def to_record(self) -> Settings:
        """Return the settings as a stored record gives them back."""
        return Settings.model_validate(self.model_dump(mode="json"))


def _wrap_mappings(setting: Any) -> Any:
    if isinstance(setting, Mapping):
        return {"by_name": {name: _wrap_mappings(item) for name, item in setting.items()}}
    if isinstance(setting, list | tuple):
        return tuple(_wrap_mappings(item) for item in setting)
    return setting
