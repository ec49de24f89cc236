"""A number and its bounds as dot and whiskers on a line whose middle is zero."""

from __future__ import annotations

from llm_trace.rendering.elements import Html, element

WIDE = 1000
"""Units across the line."""


def place_range(value: float, low: float, high: float, reach: float | None = None) -> dict[str, float]:
    """Return where dot and whiskers stand.

    Args:
        reach: the number at the line's right end; by default the largest of the three, whatever its sign.
    """
    reach = reach or max(abs(low), abs(high), abs(value)) or 1.0
    begin, dot, end = (
        round((min(max(number / reach, -1), 1) + 1) * WIDE / 2, 1) for number in (low, value, high)
    )
    return {"low": begin, "dot": dot, "high": end, "width": round(end - begin, 1)}


def draw_range(places: dict[str, float], kind: str, label: str) -> Html:
    """Return dot and whiskers as a picture.

    Args:
        kind: the class of its colour.
        label: what it says, for who cannot see it.
    """
    return _draw_line(places, label, whisker=kind, dot=kind)


def draw_bar(places: dict[str, float], kind: str, label: str) -> Html:
    """Return a bar from zero to the number, and whiskers, as a picture; arguments as for `draw_range`."""
    begin, end = sorted((places["dot"], WIDE / 2))
    bar = element("rect", class_=f"bar {kind}", x=begin, y=20, width=max(end - begin, 4), height=40)
    return _draw_line(places, label, bar, whisker="")


def _draw_line(
    places: dict[str, float], label: str, bar: Html | None = None, *, whisker: str, dot: str | None = None
) -> Html:
    reach = {"x": places["low"], "y": 35, "width": max(places["width"], 8), "height": 10}
    middle = {"cx": places["dot"], "cy": 40, "r": 28}
    return element(
        "svg",
        element("rect", class_="zero", x=WIDE / 2 - 4, y=0, width=8, height=80),
        bar,
        element("rect", class_=f"whisker {whisker}", **reach) if places["width"] else None,
        None if dot is None else element("circle", class_=f"dot {dot}", **middle),
        class_="range", viewBox=f"-30 0 {WIDE + 60} 80", role="img", aria_label=label,
    )  # fmt: skip
