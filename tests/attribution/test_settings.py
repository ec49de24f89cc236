"""The settings of an attribution are recorded as data: a stored record is measured as the fresh one is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as limit
from hypothesis import strategies as st

from llm_trace import open_store
from llm_trace.attribution import (
    Budget,
    Contrast,
    attribute,
    interactions,
    measure,
    measure_paraphrase_stability,
)
from llm_trace.attribution_settings import Settings, Unrecorded
from llm_trace.errors import AttributionError
from llm_trace.record import Attribution, Segment
from llm_trace.stores.unrecorded_settings import parse_settings
from tests.helpers import attribution_toys as toys
from tests.helpers.spool_toys import HandWriter, span, spool_of

TEXT = "Lily had a red ball. Tom was sad. The dog came to play."
SAID = " Tom said hello. Tom was happy."
CASES: dict[str, dict[str, Any]] = {
    "a list of baselines": {"method": "occlusion", "baseline": ["delete", "mask"]},
    "texts as baselines": {"method": "occlusion", "baseline": ["something", "delete", ["mask", "it"]]},
    "the mean embedding": {"method": "integrated_gradients", "baseline": "mean"},
    "the usual embedding": {"method": "integrated_gradients"},
    "a contrast": {"method": "occlusion", "target": Contrast("Tom", "Lily")},
    "a pattern": {"method": "occlusion", "target": re.compile("tom", re.IGNORECASE)},
    "characters": {"method": "occlusion", "target": (17, 20)},
    "values by name": {
        "method": "occlusion",
        "segments": {"who": "Lily", "what": "dog"},
        "baseline": {"who": ["Anna", "Sue"], "what": ["cat"]},
    },
    "another unit": {"method": "occlusion", "unit": "logit", "target": -1, "baseline": "delete"},
    "sampling": {"method": "leverage_shap", "budget": 120, "confidence": 0.9, "seed": 5},
    "a hierarchy": {"segments": "hierarchy", "budget": 60},
    "a function": {"method": "occlusion", "segments": lambda text: [(0, 4), (5, 20), (21, 33)]},
}


def stored(path: Path, attribution: Attribution) -> Attribution:
    """Return the attribution as a store gives it back."""
    writer = HandWriter(spool_of(path))
    writer.call(1)
    event = {
        "span_id": span(1),
        "method": attribution.method,
        "config_hash": "c",
        "time_ns": 1,
        "status": "ok",
    }
    writer.event("attribution", id=span(9), attribution=attribution.model_dump(mode="json"), **event)
    return open_store(path).attributions(span(1))[0]


def ask(**settings: Any) -> Attribution:
    found = attribute(TEXT, SAID, model=toys.llama(), tokenizer=toys.byte_level(), **settings)
    assert isinstance(found, Attribution)
    return found


def flatten(figures: Any, at: str = "") -> dict[str, Any]:
    if not isinstance(figures, dict):
        return {at: pytest.approx(figures, abs=1e-3) if isinstance(figures, float) else figures}
    return {k: v for name, item in figures.items() for k, v in flatten(item, f"{at}/{name}").items()}


@pytest.mark.parametrize("name", CASES)
def test_a_stored_attribution_is_measured_as_the_fresh_one(name: str, tmp_path: Path) -> None:
    fresh = ask(**CASES[name])
    again = stored(tmp_path / "t.duckdb", fresh)
    assert again.settings == fresh.settings
    assert again.settings is not None
    assert again.settings.budget == Settings.of(**CASES[name]).budget
    loaded: dict[str, Any] = {"model": toys.llama(), "tokenizer": toys.byte_level(), "count": 24}
    measures = ("completeness", "fidelity", "stability")
    figures = [measure(record, **loaded, measures=measures) for record in (fresh, again)]
    assert figures[0] == figures[1]
    assert list(figures[1]) != []


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("sampling", "a hierarchy")])
def test_a_stored_attribution_has_the_figures_that_were_measured_when_it_was_made(
    name: str, tmp_path: Path
) -> None:
    fresh = ask(**CASES[name], quality=["fidelity"])
    again = stored(tmp_path / "t.duckdb", fresh)
    figures = measure(again, model=toys.llama(), tokenizer=toys.byte_level(), measures="fidelity")
    measured = {name: item for name, item in fresh.faithfulness.items() if name == "fidelity"}
    assert flatten(figures) == flatten(measured)


def test_an_embedded_baseline_skips_what_needs_masks_and_says_why() -> None:
    figures = measure(ask(**CASES["the mean embedding"]), model=toys.llama(), tokenizer=toys.byte_level())
    assert {name for name, item in figures.items() if "skipped" in item} >= {"fidelity", "curves"}
    assert "baseline 'mean' is an embedding" in figures["fidelity"]["skipped"]


def test_a_function_is_named_and_cannot_be_asked_of_another_prompt(tmp_path: Path) -> None:
    again = stored(tmp_path / "t.duckdb", ask(**CASES["a function"]))
    assert again.settings is not None
    assert isinstance(again.settings.segments, Unrecorded)
    loaded: dict[str, Any] = {"model": toys.llama(), "tokenizer": toys.byte_level()}
    with pytest.raises(
        AttributionError, match=r"segments=tests\.attribution\.test_settings:<lambda> is a function"
    ):
        measure_paraphrase_stability(again, [TEXT], **loaded)
    spans = ask(method="occlusion", segments=[(0, 4), (5, 20), (21, 33)])
    with pytest.raises(AttributionError, match="hold for this prompt alone"):
        measure_paraphrase_stability(spans, [TEXT], **loaded)


def test_a_paraphrase_is_asked_with_every_recorded_setting() -> None:
    given: dict[str, Any] = {"baseline": ["delete", "mask"], "target": re.compile("tom", re.IGNORECASE)}
    fresh = ask(method="occlusion", **given)
    loaded: dict[str, Any] = {"model": toys.llama(), "tokenizer": toys.byte_level()}
    assert measure_paraphrase_stability(fresh, [TEXT], **loaded)["spearman"] == pytest.approx(1.0)


def test_pairs_of_a_stored_attribution_are_those_of_the_fresh_one(tmp_path: Path) -> None:
    fresh = ask(**CASES["a list of baselines"])
    loaded: dict[str, Any] = {"model": toys.llama(), "tokenizer": toys.byte_level(), "top": 4}
    assert interactions(stored(tmp_path / "t.duckdb", fresh), **loaded) == interactions(fresh, **loaded)


def test_an_old_record_is_measured_where_its_words_say_the_settings_and_else_refused(tmp_path: Path) -> None:
    loaded: dict[str, Any] = {"model": toys.llama(), "tokenizer": toys.byte_level(), "measures": "fidelity"}
    plain, listed = ask(method="occlusion", target="hello"), ask(**CASES["a list of baselines"])
    for number, fresh in enumerate((plain, listed)):
        writer = HandWriter(spool_of(tmp_path / f"{number}.duckdb"))
        writer.call(1)
        old = {k: v for k, v in fresh.model_dump(mode="json").items() if k != "settings"}
        event = {"span_id": span(1), "method": "occlusion", "config_hash": "c", "time_ns": 1, "status": "ok"}
        writer.event("attribution", id=span(9), attribution=old, **event)
    first, second = (open_store(tmp_path / f"{i}.duckdb").attributions(span(1))[0] for i in (0, 1))
    assert first.settings == Settings.of(method="occlusion", target="hello", baseline="mask")
    assert measure(first, **loaded) == measure(plain, **loaded)
    assert second.settings is None
    with pytest.raises(AttributionError, match=r"pass settings=Settings\.of"):
        measure(second, **loaded)
    assert measure(second, **loaded, settings=listed.settings) == measure(listed, **loaded)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"baseline": "mean over 2 of: delete; mask: '_' for each token"}, None, id="list"),
        pytest.param({"baseline": "mean embedding"}, None, id="embedding"),
        pytest.param({"target": "'a' rather than 'b'"}, None, id="contrast"),
        pytest.param({"target": "'a'", "response": "a b a"}, None, id="which-a"),
        pytest.param({"target": "'a' and 'b'"}, None, id="several"),
        pytest.param({"unit": "gradient"}, None, id="unit"),
        pytest.param({"target": "token 2"}, {"target": 2}, id="token"),
        pytest.param({"baseline": "text: 'x'"}, {"baseline": "x"}, id="text"),
        pytest.param({"baseline": "delete (token ids)"}, {"baseline": "delete"}, id="ids"),
        pytest.param(
            {"stopped": "budget", "passes": 40, "seed": 3, "confidence": 0.9},
            {"budget": Budget(evaluations=40), "seed": 3, "confidence": 0.9},
            id="sampled",
        ),
    ],
)
def test_words_say_settings_or_they_do_not(fields: dict[str, Any], expected: dict[str, Any] | None) -> None:
    words = {
        "method": "lime", "segments": [{"start": 0, "end": 2, "text": "Be", "kind": "word"}],
        "response": "a b",
        "target": "the whole response", "baseline": "delete", **fields,
    }  # fmt: skip
    parsed = parse_settings(words)
    if expected is None:
        assert parsed is None
    else:
        assert parsed is not None
        usual: dict[str, Any] = {"method": "lime", "baseline": "delete"}
        assert Settings.model_validate(parsed) == Settings.of(**(usual | expected))


def test_settings_of_a_later_version_are_unknown_and_the_record_is_readable() -> None:
    record = ask(method="occlusion").model_dump(mode="json")
    record["settings"]["moon"] = "full"
    assert Attribution.from_stored(record).settings is None


texts = st.text(max_size=5)
values = st.dictionaries(texts, texts | st.lists(texts, max_size=2), max_size=2)
patterns = st.builds(
    lambda t, flags: re.compile(re.escape(t), flags), texts, st.sampled_from([0, re.IGNORECASE])
)
contrasts = st.builds(Contrast, texts.filter(bool)) | st.builds(
    Contrast, texts.filter(bool), texts.filter(bool)
)
spans = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=2)
baselines = st.recursive(texts | values, lambda inner: st.lists(inner, max_size=2), max_leaves=3)


@limit(max_examples=40, deadline=None)
@given(
    segments=texts | patterns | values | spans,
    target=st.none() | texts | patterns | contrasts | st.integers() | st.tuples(st.integers(), st.integers()),
    baseline=baselines,
    budget=st.none() | st.integers(1, 99) | st.builds(Budget, tokens=st.integers(1, 9)),
)
def test_every_setting_that_is_data_comes_back_from_json(**settings: Any) -> None:
    asked = Settings.of(**settings)
    assert Settings.model_validate_json(asked.model_dump_json()) == asked
    assert asked.unrecorded == ()
    assert asked.target == settings["target"]


def test_segments_are_recorded_as_spans() -> None:
    word = Segment(start=0, end=4, text="Lily", name="who")
    assert Settings.of(segments=[word]).to_record().segments == ((0, 4, "who"),)
