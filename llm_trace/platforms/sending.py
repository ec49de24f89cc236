"""Send annotations so that one which a platform refuses does not keep the others back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llm_trace.platforms import Annotation
from llm_trace.platforms.client import PlatformRefusalError


def send_together(
    annotations: Sequence[Annotation], send: Callable[[Sequence[Annotation]], None]
) -> dict[str, str]:
    """Send annotations in one request, or each alone where that is refused; return why, by id.

    Args:
        send: raises `PlatformRefusalError` where the platform takes not all; what it took does no harm twice.
    """
    try:
        send(annotations)
    except PlatformRefusalError as exc:
        if len(annotations) == 1:
            return {annotations[0].id: str(exc)}
        return send_singly(annotations, lambda annotation: send([annotation]))
    return {}


def send_singly(annotations: Sequence[Annotation], send: Callable[[Annotation], None]) -> dict[str, str]:
    """Send annotations one by one; return why some are refused, by id."""
    reasons: dict[str, str] = {}
    for annotation in annotations:
        try:
            send(annotation)
        except PlatformRefusalError as exc:
            reasons[annotation.id] = str(exc)
    return reasons
