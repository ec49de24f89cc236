"""The deletion curve as a picture: what the answer loses as segments go by score, and at random."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from llm_trace.rendering.elements import Html, element

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from llm_trace.rendering.scores import ScoredPrompt

WIDE, HIGH = 400, 150
_LEFT, _TOP, _BELOW = 44, 8, 18
"""Room for what stands at the axes."""
_LINES = {
    "ours": "deletion_curve",
    "chance": "deletion_random_curve",
    "low": "deletion_random_low",
    "high": "deletion_random_high",
}


def describe_curve(scored: ScoredPrompt) -> dict[str, Any] | None:
    """Return the shares removed, the losses by score and at random, and what they say; `None` where they were
    not measured. Older records have no curve of the random orders, only its mean height.
    """
    figures = scored.faithfulness.get("curves")
    if not isinstance(figures, dict) or not figures.get("deletion_curve"):
        return None
    areas = figures["deletion"]
    return {
        "shares": figures["shares"],
        **{name: figures.get(field) for name, field in _LINES.items()},
        "unit": scored.unit if scored.unit in ("nats", "logit", "probability") else "nats",
        "sentence": _write_sentence(areas["strongest_first"], areas["random"], areas["beats_random"]),
    }


def _write_sentence(ours: float, chance: float, beats: bool) -> str:
    if beats:
        finding = "the scores find what matters sooner than every random order tried"
    elif ours > chance:
        finding = "the scores find what matters sooner than chance, though one random order was as quick"
    else:
        finding = "that is no sooner than at random, so the scores say nothing here"
    return (
        f"Checked by taking parts away: strongest first the answer loses {ours:.2g} on average, in a random "
        f"order {chance:.2g}; {finding}."
    )


def draw_curve(curve: dict[str, Any]) -> Html:
    """Return the figure."""
    lines = [curve[name] for name in _LINES if curve[name]]
    low, high = min(0.0, *chain(*lines)), max(0.0, *chain(*lines))
    span = (high - low) or 1.0

    def place(values: Sequence[float]) -> list[tuple[float, float]]:
        return [
            (
                round(_LEFT + share * (WIDE - _LEFT - 6), 1),
                round(_TOP + (high - value) / span * (HIGH - _TOP - _BELOW), 1),
            )
            for share, value in zip(curve["shares"], values, strict=True)
        ]

    zero = place([0.0] * len(curve["shares"]))
    chance = [
        element("polygon", class_="band", points=_write([*place(curve["low"]), *place(curve["high"])[::-1]])),
        element("polyline", class_="chance", points=_write(place(curve["chance"]))),
    ] if curve["chance"] else []  # fmt: skip
    dots = (
        element("circle", element("title", f"{share:.0%} taken away: {value:.3g} {curve['unit']} lost"),
                cx=x, cy=y, r=4)
        for (x, y), share, value in zip(place(curve["ours"]), curve["shares"], curve["ours"], strict=True)
    )  # fmt: skip
    picture = element(
        "svg",
        element("polyline", class_="axis", points=_write([zero[0], zero[-1]])),
        chance,
        element("polyline", class_="ours", points=_write(place(curve["ours"]))),
        dots,
        element("text", f"{high:.2g}", x=_LEFT - 6, y=_TOP + 8, text_anchor="end"),
        element("text", "0", x=_LEFT - 6, y=zero[0][1] + 4, text_anchor="end") if zero[0][1] > 30 else None,
        element("text", "all parts there", x=_LEFT, y=HIGH - 3),
        element("text", "all taken away", x=WIDE - 6, y=HIGH - 3, text_anchor="end"),
        viewBox=f"0 0 {WIDE} {HIGH}", role="img", aria_label=curve["sentence"],
    )  # fmt: skip
    key = "Solid: strongest first. Dashed, in its grey range: random orders. Up: lost, in "
    return element(
        "figure",
        picture,
        element("figcaption", curve["sentence"], " ", element("span", key, curve["unit"], class_="dim")),
        class_="curve",
    )


def _write(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)
