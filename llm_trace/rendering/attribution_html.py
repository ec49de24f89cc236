"""An attribution as HTML: the summary, the coloured prompt, the answer, the legend and the bounds."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from llm_trace.controls import clean
from llm_trace.rendering import pages
from llm_trace.rendering.attribution_data import describe_attribution
from llm_trace.rendering.curves import draw_curve
from llm_trace.rendering.elements import Html, element, join_elements
from llm_trace.rendering.ranges import draw_bar, place_range
from llm_trace.rendering.texts import cut_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from llm_trace.rendering.scores import ScoredPrompt

STRONGEST = 8
"""Segments whose bounds are shown; the further ones are folded away."""
WEAK = 3
"""Segments that are shown where none has a colour."""
TOKENS = 40
"""Output tokens in the picture of the matrix."""
_LONG = 2000
"""Pieces of a prompt above which those without colour lose what hovering shows."""
_BLOCK = 300
"""Pieces of a long prompt that are laid out together, at least; a block ends where a line does, if it can."""


def render_attribution_page(attribution: ScoredPrompt, *, title: str = "Attribution") -> str:
    """Return a page that stands alone; everything of the prompt and the response is escaped."""
    return pages.render_page(title, element("h1", title), render_attribution(attribution))


def render_attribution(attribution: ScoredPrompt) -> Html:
    """Return all of an attribution."""
    data = describe_attribution(attribution)
    sure = data["verdict"] == "ok"
    strong = [s for s in data["strongest"][:STRONGEST] if s["level"]] or data["strongest"][:WEAK]
    reason = element("p", element("strong", "Not evidence: "), data["reason"], class_="verdict")
    about = f"{data['method']}, by {data['kind']}, in {data['unit']}"
    return element(
        "section",
        element("h3", "What mattered ", element("span", about, class_="dim")),
        None if sure else reason,
        element("p", data["summary"], class_="lead"),
        _render_prompt(data["pieces"]),
        element("p", element("span", "Answer: ", class_="dim"), element("bdi", cut_text(data["response"])),
                class_="target"),
        _render_legend(data["scale"], data["unit"]),
        _render_table(data, strong),
        _render_more(data, data["strongest"][len(strong) :]),
        element("p", element("small", _describe_basis(data))),
        (element("p", remark, class_="remark") for remark in data["warnings"]),
        class_="panel attribution" if sure else "panel attribution unsure",
    )  # fmt: skip


def _render_prompt(pieces: Sequence[dict[str, Any]]) -> Html:
    bare = len(pieces) > _LONG
    words = (
        piece["text"]
        if piece["segment"] is None or (bare and not piece["level"])
        else element("span", piece["text"], class_=f"w v{piece['level']}", title=piece["label"])
        for piece in pieces
    )
    return element("pre", words, class_="heat", dir="auto")


def render_words(pieces: Sequence[dict[str, Any]]) -> Html:
    """Return the words of a page that answers to pointer and keyboard.

    Tens of thousands come in blocks, so that a browser lays out those alone that are looked at.
    """
    words = list(map(_render_word, pieces))
    if len(words) <= _LONG:
        return Html("".join(words))
    blocks, begin = [], 0
    for end, piece in enumerate(pieces, start=1):
        if end - begin >= (_BLOCK if "\n" in piece["text"] else 2 * _BLOCK) or end == len(pieces):
            blocks.append(f'<span class="block">{"".join(words[begin:end])}</span>')
            begin = end
    return Html("".join(blocks))


def _render_word(piece: dict[str, Any]) -> str:
    text = escape(clean(piece["text"]))
    if piece["segment"] is None:
        return text
    level, label = piece["level"], escape(clean(piece["label"]))
    tab = ' tabindex="0"' if level else ""
    return f'<span class="w v{level}" data-s="{piece["segment"]}" title="{label}"{tab}>{text}</span>'


def _render_legend(scale: float, unit: str) -> Html:
    steps = (
        (-5, f"−{scale:.2g}"), (-3, ""), (-1, ""), (None, "0"), (1, ""), (3, ""), (5, f"+{scale:.2g}"),
    )  # fmt: skip
    meaning = f" {unit}: orange speaks against the answer, blue for it; no colour: not told from noise"
    return element(
        "p",
        (element("span", text, class_=None if level is None else f"v{level}") for level, text in steps),
        element("span", meaning, class_="dim"),
        class_="legend",
    )


def _render_table(data: dict[str, Any], segments: Sequence[dict[str, Any]]) -> Html | None:
    if not segments:
        return None
    numbers = [s[end] for s in data["strongest"] for end in ("value", "low", "high") if s[end] is not None]
    bounded, tested = (any(s[name] is not None for s in segments) for name in ("low", "q"))
    head = (
        element("th", "Segment", scope="col"),
        element("th", data["unit"], scope="col", class_="num"),
        element("th"),
        element("th", f"{100 * data['confidence']:g} % bounds", scope="col") if bounded else None,
        element("th", "q", scope="col", class_="num") if tested else None,
    )
    rows = (_render_segment(segment, max(map(abs, numbers)) or 1.0) for segment in segments)
    table = element("table", element("thead", element("tr", head)), element("tbody", rows), class_="scores")
    return element("div", table, class_="scroll")


def _render_segment(segment: dict[str, Any], reach: float) -> Html:
    value, low, high, q = segment["value"], segment["low"], segment["high"], segment["q"]
    known = low is not None and high is not None
    bounds = f"{low:+.3g} to {high:+.3g}" if known else None
    places = place_range(value, low if known else value, high if known else value, reach)
    kind = "up" if segment["level"] > 0 else "down" if segment["level"] < 0 else ""
    label = ", ".join(filter(None, (f"{value:+.3g}", bounds)))
    return element(
        "tr",
        element("th", element("bdi", cut_text(" ".join(segment["name"].split()), 60)), scope="row"),
        element("td", f"{value:+.3g}", class_="num"),
        element("td", draw_bar(places, kind, label)),
        element("td", bounds, class_="nowrap") if bounds else None,
        None if q is None else element("td", f"{q:.2g}", class_="num"),
        class_=None if segment["stands_out"] else "dim",
    )


def _describe_basis(data: dict[str, Any]) -> str:
    """Return what the scores rest on, and what they cost."""
    gap = data["completeness_gap"]
    facts = [
        f"Explained: {data['target']}. Bounds: {data['bounds']}. Against: {data['baseline']}.",
        f"Cost: {data['passes']:,} evaluations, {data['tokens']:,} tokens, {data['seconds']:.3g} s.",
        f"Model: {data['model']}." if data["model"] else "",
        "" if gap is None else f"Not accounted for: {gap:.2g}.",
    ]
    return " ".join(filter(None, facts))


def _render_more(data: dict[str, Any], further: Sequence[dict[str, Any]]) -> Html | None:
    """Return what is folded away: further scores, the matrix, the notes."""
    left = data["segments"] - len(data["strongest"])
    parts = [
        _render_table(data, further),
        element("p", f"{left:,} further segments are weaker.", class_="dim") if left > 0 else None,
        _render_matrix(data),
        None if data["curve"] is None else draw_curve(data["curve"]),
        *(element("p", note, class_="dim") for note in data["notes"]),
    ]
    return element("details", element("summary", "More"), parts) if any(parts) else None


def _render_matrix(data: dict[str, Any]) -> Html | None:
    """Return output tokens against the strongest segments, as a table of colours."""
    matrix = data["matrix"]
    if matrix is None:
        return None
    tokens, levels = matrix["tokens"][:TOKENS], matrix["levels"][:TOKENS]
    rows = (_render_matrix_row(s["name"], [row[s["segment"]] for row in levels])
            for s in data["strongest"][:STRONGEST])  # fmt: skip
    head = element("tr", element("th"), (element("th", token or "·", scope="col") for token in tokens))
    return element(
        "div",
        element("table", element("thead", head), element("tbody", rows), class_="matrix"),
        class_="scroll",
    )


def _render_matrix_row(name: str, levels: Iterable[int]) -> Html:
    cells = (
        element("td", "+" if level > 0 else "−" if level < 0 else "", class_=f"v{level}") for level in levels
    )
    return element("tr", element("th", element("bdi", cut_text(name, 30)), scope="row"), join_elements(cells))


def render_attributions(attributions: Sequence[ScoredPrompt]) -> Html:
    """Return attributions one below the other."""
    if not attributions:
        hint = (
            "No attributions: llm_trace.attribute(call, model=…) makes one, `llm-trace attribute` keeps it."
        )
        return element("p", hint, class_="dim")
    return element("div", map(render_attribution, attributions))
