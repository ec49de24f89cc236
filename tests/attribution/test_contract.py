"""What every registered method keeps, ours or another package's; plug-ins of all kinds by entry point."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from llm_trace.attribution.core import plugins
from llm_trace.attribution.core.value import Budget, BudgetError, Metered, Value
from llm_trace.attribution.methods import registry
from llm_trace.attribution.methods.registry import Scores
from llm_trace.attribution.models.problem import Problem, build_problem
from llm_trace.attribution.models.questions import parse_question
from llm_trace.attribution.quality import Study, measure
from llm_trace.attribution.studies.catalogue import list_catalogue
from llm_trace.attribution.studies.ranking import rank
from llm_trace.cli.app import build_app
from llm_trace.errors import AttributionError
from tests.helpers import attribution_toys as toys
from tests.helpers.question_toys import run

TEXT = "Lily had a red ball and her friend Tom came to play."
SAID = " Lily and Tom played."
LIMIT = 160


def mine(value: Value, n: int, *, confidence: float = 0.95, seed: int = 0) -> Scores:
    """Every segment counts as much as it is long."""
    return Scores(np.arange(n, dtype=float), full=float(value(np.ones((1, n), dtype=bool)).sum()))


def halves(text: str) -> list[tuple[int, int]]:
    """Return two halves."""
    return [(0, len(text) // 2), (len(text) // 2, len(text))]


def sparsity(study: Study) -> dict[str, Any]:
    """Return the share of scores that are nearly zero."""
    return {"share": float((np.abs(study.scores) < 0.1).mean())}


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that registers one of each kind, and one that is broken."""
    here = "tests.attribution.test_contract"
    points = {
        plugins.METHODS: {"mine": f"{here}:mine", "broken": "no_such_module:fn"},
        plugins.SEGMENTERS: {"halves": f"{here}:halves"},
        plugins.QUALITY: {"sparsity": f"{here}:sparsity"},
    }

    def foreign(group: str) -> Mapping[str, EntryPoint]:
        return {name: EntryPoint(name, value, group) for name, value in points.get(group, {}).items()}

    monkeypatch.setattr(plugins, "find_foreign", foreign)


def work() -> Problem:
    model, tokenizer = toys.stories()
    return build_problem(
        parse_question(TEXT, SAID), model, tokenizer, "stories", segments="word", target=None
    )


@pytest.mark.parametrize("name", ["auto", *registry.list_methods()])
def test_every_method_keeps_the_contract(name: str) -> None:
    question, (model, _) = work(), toys.stories()
    before, n = toys.state_of(model), work().n
    value = Metered(question.value("auto"), budget=Budget(evaluations=LIMIT))
    method = registry.find_method(name)
    if (
        name == "sig_integral"
    ):  # the published form needs 50 steps a token: it says so before it spends anything
        with pytest.raises(BudgetError):
            method(value, n, confidence=0.95, seed=1)
        value = Metered(question.value("auto"))
    try:
        found = method(value, n, confidence=0.95, seed=1)
    except AttributionError as exc:
        assert name in ("shapley", "self_report", "answer_sets") or "budget" in str(exc), exc
        return
    assert found.values.shape == (n,)
    assert np.isfinite(found.values).all()
    if found.matrix is not None:
        assert found.matrix.sum(axis=0) == pytest.approx(found.values, abs=1e-4)
    assert (found.low is None) == (found.high is None)
    if found.low is not None and found.high is not None:
        assert (found.low <= found.values).all()
        assert (found.values <= found.high).all()
        assert found.bounds != "exact"
    if name != "sig_integral":
        assert value.evaluations <= LIMIT
    again = method(Metered(question.value("auto"), budget=value.budget), n, confidence=0.95, seed=1)
    assert again.values == pytest.approx(found.values, abs=1e-5)
    assert toys.state_of(model) == before


@pytest.mark.parametrize("name", ["auto", *registry.list_methods()])
def test_every_method_says_what_it_needs_costs_and_stems_from(name: str) -> None:
    known = registry.get_info(name)
    assert known.name == name
    assert known.access
    assert known.cost
    assert known.source
    assert known.package == "llm_trace"


@pytest.mark.usefixtures("plugged")
def test_another_package_adds_one_of_each_kind_without_touching_ours() -> None:
    model, tokenizer = toys.stories()
    given = {"model": model, "tokenizer": tokenizer}
    found = run(TEXT, SAID, **given, method="mine", segments="halves")
    assert found.values == (0.0, 1.0)
    assert [(s.text, s.kind) for s in found.segments] == [(TEXT[:26], "halves"), (TEXT[26:], "halves")]
    whole = run(TEXT, SAID, **given, method="occlusion")
    assert "share" in measure(whole, **given, measures="sparsity")["sparsity"]
    assert "mine" in registry.list_methods()
    with pytest.raises(AttributionError, match="cannot be imported"):
        registry.find_method("broken")


@pytest.mark.usefixtures("plugged")
def test_the_catalogue_holds_everything_that_is_installed() -> None:
    entries = {(e["kind"], e["name"]): e for e in list_catalogue()}
    assert entries["method", "occlusion"]["cost"] == "n + 1"
    assert entries["method", "broken"]["source"].startswith("method 'broken'")
    assert entries["segmenter", "halves"]["source"] == "Return two halves."
    assert {"word", "sentence", "token", "message"} <= {n for k, n in entries if k == "segmenter"}
    assert ("baseline", "mask") in entries
    assert ("quality", "fidelity") in entries
    listed = CliRunner().invoke(build_app(), ["methods", "--json"])
    assert json.loads(listed.stdout) == [entries[key] for key in entries]
    shown = CliRunner().invoke(build_app(), ["methods"], env={"COLUMNS": "200"})
    assert "Zeiler" in shown.stdout


@pytest.mark.usefixtures("plugged")
def test_methods_are_ranked_by_held_out_fidelity_for_their_tokens() -> None:
    model, tokenizer = toys.stories()
    names = ["mine", "occlusion", "leverage_shap", "broken"]
    *found, broken = rank([(TEXT, SAID)], model=model, tokenizer=tokenizer, names=names, budget=100)
    assert (broken.method, broken.fidelity) == ("broken", None)
    assert "cannot be imported" in str(broken.failed)
    by_name = {r.method: r for r in found}
    fair, naive = by_name["occlusion"], by_name["mine"]
    assert fair.fidelity is not None
    assert naive.fidelity is not None
    assert fair.fidelity > 0.5 > naive.fidelity
    assert set(fair.by_masks) == {"half", "near"}
    assert by_name["leverage_shap"].tokens > 2 * fair.tokens
    assert [r.per_1000_tokens for r in found] == sorted((r.per_1000_tokens or 0 for r in found), reverse=True)


def test_the_command_ranks_on_a_model_of_ones_own() -> None:
    toys.stories()
    arguments = ["methods", "bench", "--model", str(toys.SHARED / "models" / "stories260K"), "--prompt", TEXT]
    result = CliRunner().invoke(
        build_app(), [*arguments, "--method", "occlusion", "--method", "attention", "--json"]
    )
    assert result.exit_code == 0
    rows = json.loads(result.stdout[result.stdout.index("[") :])
    assert {r["method"] for r in rows} == {"occlusion", "attention"}
    assert all(r["tokens"] > 0 for r in rows)
    nothing = CliRunner().invoke(
        build_app(), ["methods", "bench", "--model", "x", "--store", "/no/such.duckdb"]
    )
    assert nothing.exit_code == 3
