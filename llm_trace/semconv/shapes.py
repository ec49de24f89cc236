"""The shapes of the data that is normalised here: plain JSON, named by what it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Attributes = Mapping[str, Any]
"""A span's attributes, as they came."""
AttributeDict = dict[str, Any]
"""A span's attributes, as they are made."""
CallFields = Mapping[str, Any]
"""Fields of a `Call`, by name."""
CallDict = dict[str, Any]
"""Fields of a `Call`, by name, as they are put together."""
Chunk = Mapping[str, Any]
"""One piece of a provider's stream."""
Json = dict[str, Any]
"""A JSON object that is being put together."""
PartFields = dict[str, Any]
"""A part of a message, as `llm_trace.record.Part(**…)` takes it."""
Raw = Mapping[str, Any]
"""A provider's JSON object."""
