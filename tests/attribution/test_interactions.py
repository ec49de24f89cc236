"""Conjunction and redundancy by name, and drilling down without losing anything in the sum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_trace.attribution.api import attribute
from llm_trace.attribution.core.value import Budget, Metered, Value
from llm_trace.attribution.explain.hierarchy import build_scored_tree, build_tree, drill
from llm_trace.attribution.models.problem import build_problem
from llm_trace.attribution.models.questions import parse_question
from llm_trace.attribution.studies.interactions import interactions, measure_pairwise
from llm_trace.errors import AttributionError
from tests.helpers import attribution_toys as toys
from tests.helpers.question_toys import call

TEXT = "Lily had a red ball. Tom was sad.\n\nOne day the dog came to play. They said hello."


def test_pairs_are_named_by_what_they_do_together() -> None:
    game: Value = lambda m: 5.0 * (m[:, 0] & m[:, 1]) + 4.0 * (m[:, 2] | m[:, 3]) + 3.0 * m[:, 4]  # noqa: E731
    found = {(x.first, x.second): x for x in measure_pairwise(game, 6, range(6))}
    assert {pair: x.kind for pair, x in found.items() if x.kind != "none"} == {(0, 1): "and", (2, 3): "or"}
    assert (found[0, 1].value, found[0, 1].alone, found[0, 1].together) == (5.0, (5.0, 5.0), 5.0)
    assert (found[2, 3].value, found[2, 3].alone, found[2, 3].together) == (-4.0, (0.0, 0.0), 4.0)


def test_the_budget_decides_how_many_pairs() -> None:
    value = Metered(lambda m: m.sum(axis=1).astype(float), budget=Budget(evaluations=12))
    assert len(measure_pairwise(value, 9, range(9))) == 6
    assert value.evaluations <= 12


def test_a_redundant_group_takes_part_whatever_its_scores() -> None:
    model, tokenizer = toys.stories()
    found = attribute(TEXT, " Lily and Tom played.", model=model, tokenizer=tokenizer, method="occlusion")
    found = found.model_copy(update={"groups": ((0, 7),)})
    pairs = {(x.first, x.second) for x in interactions(found, model=model, tokenizer=tokenizer, top=2)}
    assert (0, 7) in pairs


def grown(game: Value, budget: int | None = None, share: float = 0.2) -> tuple[object, Metered]:
    model, tokenizer = toys.llama(), toys.byte_level()
    work = build_problem(parse_question(TEXT, " yes"), model, tokenizer, "toy", segments="word", target=None)
    value, root = Metered(game, budget=Budget(evaluations=budget)), build_tree(work)
    build_scored_tree(root, value, work.n, share)
    return root, value


def test_only_what_matters_is_taken_apart_and_sums_are_kept() -> None:
    words = TEXT.split()
    dog, red = words.index("dog"), words.index("red")
    game: Value = lambda m: 6.0 * m[:, dog] + 0.1 * m[:, red]  # noqa: E731
    root, value = grown(game)
    first, second = root.children  # type: ignore[attr-defined]
    assert (first.segment.kind, first.children) == ("paragraph", [])
    assert [s.segment.kind for s in second.children] == ["sentence", "sentence"]
    leaves = list(root.leaves())  # type: ignore[attr-defined]
    assert max(leaves, key=lambda x: x.score).segment.text == "dog"
    assert sum(x.score for x in leaves) == pytest.approx(6.1)
    assert value.evaluations <= 2 + 2 + 1 + 2 + 1 + 7 + 1


def test_what_parts_do_together_is_the_remainder() -> None:
    words = TEXT.split()
    a, b = words.index("dog"), words.index("play.")
    root, _ = grown(lambda m: np.float64(6.0) * (m[:, a] | m[:, b]))

    def check(node: object) -> float:
        children = node.children  # type: ignore[attr-defined]
        if not children:
            return float(node.score)  # type: ignore[attr-defined]
        total = sum(check(c) for c in children) + node.remainder  # type: ignore[attr-defined]
        assert total == pytest.approx(node.score)  # type: ignore[attr-defined]
        return float(total)

    assert check(root) == pytest.approx(6.0)


def test_redundant_stretches_are_taken_apart_though_each_seems_idle() -> None:
    words = TEXT.split()
    a, b = words.index("red"), words.index("hello.")
    root, _ = grown(lambda m: np.float64(6.0) * (m[:, a] | m[:, b]))
    assert all(c.children for c in root.children)  # type: ignore[attr-defined]


def test_the_budget_is_for_all_levels() -> None:
    game: Value = lambda m: m @ np.linspace(1, 2, m.shape[1])  # noqa: E731
    _, value = grown(game, budget=12)
    assert value.evaluations <= 12


def test_a_real_model_is_drilled_and_the_gap_is_what_remains() -> None:
    model, tokenizer = toys.stories()
    found = drill(TEXT, " The dog played with Lily.", model=model, tokenizer=tokenizer)
    a = found.attribution
    assert a.full is not None
    assert a.empty is not None
    assert a.completeness_gap is not None
    assert sum(a.values) + a.completeness_gap == pytest.approx(a.full - a.empty)
    assert found.root.score == pytest.approx(a.full - a.empty)
    assert {s.kind for s in a.segments} <= {"paragraph", "sentence", "word"}
    assert [s.start for s in a.segments] == sorted(s.start for s in a.segments)


def test_the_hierarchy_is_a_way_to_segment() -> None:
    model, tokenizer = toys.stories()
    given = {"model": model, "tokenizer": tokenizer, "segments": "hierarchy"}
    found = attribute(TEXT, " The dog played with Lily.", **given)
    assert (found.method, found.stopped) == ("occlusion", "exact")
    assert len({s.kind for s in found.segments}) > 1
    few = attribute(TEXT, " The dog played with Lily.", **given, budget=6)
    assert (few.stopped, few.passes) == ("budget", 6)
    with pytest.raises(AttributionError, match="leaves stretches out"):
        attribute(TEXT, " yes", **given, method="shapley")


def test_a_hierarchy_has_a_price_a_unit_and_a_cache(tmp_path: Path) -> None:
    model, tokenizer = toys.stories()
    given: dict[str, Any] = {"model": model, "tokenizer": tokenizer, "segments": "hierarchy"}
    given |= {"unit": "probability", "cache": tmp_path / "kept.db"}
    said = " The dog played with Lily."
    plan = attribute(TEXT, said, **given, dry_run=True)
    found = attribute(TEXT, said, **given)
    assert found.unit == "probability"
    assert found.full is not None
    assert 0 < found.full < 1
    assert found.passes <= plan.evaluations
    assert plan.segments == len(TEXT.split())
    again = attribute(TEXT, said, **given)
    assert (again.passes, again.values) == (0, found.values)


def test_a_hierarchy_says_that_its_prompt_was_masked() -> None:
    model, tokenizer = toys.stories()
    logged = call(input={"prompt": f"{TEXT} [redacted]"}, output=" Lily.")
    found = attribute(logged, model=model, tokenizer=tokenizer, segments="hierarchy")
    assert found.verdict == "redacted_input"
