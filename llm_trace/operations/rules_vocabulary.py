"""What the condition of a rule may ask: names with their types, and functions with what they mean."""

from __future__ import annotations

from typing import Literal, NamedTuple

NameType = Literal["string", "int", "double", "list<string>", "map<string, dyn>"]
"""In CEL's words."""


class TextFunction(NamedTuple):
    """A function of one text."""

    returns: Literal["double", "string"]
    about: str


NAMES: dict[str, tuple[NameType, str]] = {
    "call.name": ("string", "of the traced function"),
    "call.kind": ("string", "`llm`, `chain`, `tool` …"),
    "call.status": ("string", "`ok`, `error`, `cancelled` …"),
    "call.model": ("string", ""),
    "call.provider": ("string", ""),
    "call.session": ("string", ""),
    "call.user": ("string", ""),
    "call.run": ("string", "id of the run"),
    "call.error": ("string", "type of the exception; empty where there was none"),
    "call.question": ("string", "the input as text"),
    "call.answer": ("string", "the output as text"),
    "call.tags": ("list<string>", ""),
    "call.metadata": ("map<string, dyn>", ""),
    "call.params": ("map<string, dyn>", "of the request, such as `temperature`"),
    "call.seconds": ("double", "how long it took"),
    "call.cost_usd": ("double", ""),
    "call.input_tokens": ("int", ""),
    "call.output_tokens": ("int", ""),
    "prompt.name": ("string", ""),
    "prompt.version": ("string", "hash of the template"),
    "prompt.variables": ("map<string, dyn>", ""),
    "attribution.method": ("string", ""),
    "attribution.verdict": ("string", "`ok`, or why its scores are no evidence"),
}

FUNCTIONS: dict[str, TextFunction] = {
    "share": TextFunction("double", "share of the weight, 0 to 1, on this word or these words in a row"),
    "share_of_variable": TextFunction("double", "… on this variable of the prompt"),
    "share_of_line": TextFunction("double", "… on the lines of the prompt with these words"),
    "share_of_chunk": TextFunction("double", "… on the retrieved document with this id"),
    "share_of_origin": TextFunction("double", "… on words of system, user, tool, retrieved or outside"),
    "share_matching": TextFunction("double", "… on words that match this pattern (RE2)"),
    "score": TextFunction("double", "the call's latest score of this name as a number; yes is 1, no is 0"),
    "label": TextFunction("string", "the call's latest score of this name as text"),
}
