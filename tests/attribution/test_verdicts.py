"""The closed set of verdicts, and the confidence that they go by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_trace.attribution import aggregate, attribute
from llm_trace.attribution.core import plugins
from llm_trace.attribution.methods.registry import Scores
from llm_trace.attribution.proxies.case import TaskCall
from llm_trace.attribution.proxies.model import Proxied
from llm_trace.attribution.quality import Findings, check_evidence
from llm_trace.errors import AttributionError
from llm_trace.record import VERDICTS, Attribution
from tests.helpers.question_toys import run

DOCS = Path(__file__).parents[2] / "docs"


def stored(**fields: Any) -> dict[str, Any]:
    return {
        "method": "occlusion", "segments": [{"start": 0, "end": 2, "text": "Be"}], "values": [2.0],
        "bounds": "exact", "prompt": "Be", "response": "Yes", "target": "the whole response",
        "baseline": "delete", **fields,
    }  # fmt: skip


def test_the_docs_say_what_every_verdict_means() -> None:
    pages = "".join((DOCS / page).read_text("utf-8") for page in ("attribution.md", "closed-models.md"))
    assert [verdict for verdict in VERDICTS if f"`{verdict}`" not in pages] == []


def test_a_record_with_a_verdict_of_another_version_is_readable_and_is_no_evidence() -> None:
    why = Attribution.from_stored(stored(verdict="haunted", warnings=["boo"], moon="full"))
    assert why.verdict == "unknown"
    assert why.warnings == (
        "the record's verdict is 'haunted', which this version of llm_trace does not know",
        "boo",
    )
    assert "Not to be taken as evidence (unknown)" in why.summary()
    with pytest.raises(AttributionError, match="none of 3 attributions is evidence"):
        aggregate([why] * 3)


def test_known_verdicts_are_read_as_they_are() -> None:
    read = [Attribution.from_stored(stored(verdict=verdict)) for verdict in VERDICTS]
    assert [(why.verdict, why.warnings) for why in read] == [(verdict, ()) for verdict in VERDICTS]


def test_a_method_of_another_package_is_told_which_verdicts_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def doubtful(value: Any, n: int, **_: Any) -> Scores:
        return Scores(np.zeros(n), full=0.0, doubts=(("haunted", "boo"),))  # type: ignore[arg-type]

    point = type("Point", (), {"load": lambda _: doubtful, "value": "x:y", "dist": None})()
    monkeypatch.setattr(
        plugins, "find_foreign", lambda group: {"doubtful": point} if group == plugins.METHODS else {}
    )
    with pytest.raises(
        AttributionError, match="'haunted' is no verdict; take one of ok, insufficient_evidence"
    ):
        run("gold please", method="doubtful")


def test_a_check_goes_by_the_confidence_of_its_findings() -> None:
    p_values = np.array([0.04, 0.9])
    bold, timid = Findings(0.9), Findings(0.95)
    for findings in (bold, timid):
        check_evidence(np.array([1.0, 0.1]), findings, p_values=p_values)
    assert (bold.verdict, timid.verdict) == ("ok", "insufficient_evidence")


def test_the_confidence_reaches_the_explanations_of_a_proxy_and_its_oracle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[dict[str, Any]] = []

    def remember(self: TaskCall, by: str, **settings: Any) -> Any:
        asked.append({"by": by, "confidence": self.confidence})
        raise AttributionError("enough")

    monkeypatch.setattr(TaskCall, "explain", remember)
    with pytest.raises(AttributionError, match="enough"):
        attribute("Hi", "yes", model=Proxied(lambda prompt: "yes", folder=tmp_path), confidence=0.8)
    assert asked == [{"by": "oracle", "confidence": 0.8}]
