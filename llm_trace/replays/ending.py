"""How a root that was called again ended, compared with how it ended when it was recorded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson

from llm_trace.capture.redaction import build_redactor
from llm_trace.capture.tail_sampling import Tail
from llm_trace.capture.values import ValueEncoder
from llm_trace.replays.report import describe_difference
from llm_trace.replays.tape import make_canonical

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.capture.callspan import CallSpan
    from llm_trace.capture.protocols import Sink
    from llm_trace.replays.tape import Taped


class Ending:
    """Stands before a call's sink and keeps its end event, so that what is compared is what is recorded."""

    def __init__(self, sink: Sink, ids: str) -> None:
        self._sink = sink
        self._head = f'{{"event":"end",{ids}'.encode()
        self.event: dict[str, Any] = {}

    def write(
        self,
        event: bytes,
        messages: Sequence[Any] | None = None,
        *,
        field: bytes = b"messages_in",
        sync: bool = False,
    ) -> bool:
        """Pass an event on."""
        if event.startswith(self._head):
            self.event = orjson.loads(event + b"}")
        return self._sink.write(event, messages, field=field, sync=sync)


def watch_ending(call: CallSpan) -> Ending | None:
    """Return where the end of a call will be found; `None` for one that is not recorded."""
    if call.sink is None or type(call.sink) is Tail:
        return None
    call.sink = ending = Ending(call.sink, call.ids)
    return ending


def compare_endings(root: Taped, ending: Ending | None) -> tuple[bool, str | None]:
    """Return whether a root ended as it did then, and where it did not, how it differs.

    One that never ended then, or whose stream was left early, differs in nothing.
    """
    if root.status in ("open", "interrupted", "cancelled"):
        return False, None
    if ending is None or not ending.event:
        return False, f"{root.name} ({root.span_id}) was not recorded this time, so its end was not compared"
    now = ending.event
    outputs = (root.output, now.get("output"))
    if "[redacted" in json.dumps(root.output) and make_canonical(outputs[0]) != make_canonical(outputs[1]):
        outputs = (root.output, ValueEncoder(build_redactor(True)).to_masked_json(now.get("output")))
    before, after = (
        _describe_end(status, error, output)
        for status, error, output in zip(
            (root.status, now["status"]), (root.error, now.get("error")), outputs, strict=True
        )
    )
    if make_canonical(before) == make_canonical(after):
        return True, None
    return (
        False,
        f"{root.name} ({root.span_id}) ended otherwise\n{describe_difference(before, after, 'ended')}",
    )


def _describe_end(status: str, error: dict[str, Any] | None, output: Any) -> Any:
    if error is None:
        return output
    name = str(error.get("type")).rpartition(".")[2]  # its module may have moved
    return {"status": status, "error": f"{name}: {error.get('message')}"} | (
        {"output": output} if output else {}
    )
