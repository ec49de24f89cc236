"""Values kept on disk by content, by many processes; and what an attribution would cost before it is made."""

from __future__ import annotations

import copy
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from llm_trace.attribution.api import attribute
from llm_trace.attribution.explain import dry_run
from llm_trace.attribution.models.cache import ValueCache
from llm_trace.attribution.models.fingerprints import compute_fingerprint
from llm_trace.attribution.question.objective import Query
from llm_trace.errors import AttributionError
from llm_trace.record import Attribution
from tests.helpers import attribution_toys as toys

torch = toys.torch
PROMPT = "Lily had a red ball. One day Tom came."
RESPONSE = " One day the dog came."
SETTINGS: dict[str, Any] = {"method": "occlusion", "baseline": "mask"}


def run(**settings: Any) -> Attribution:
    given = {"model": toys.llama(), "tokenizer": toys.byte_level()} | SETTINGS | settings
    found: Attribution = attribute(PROMPT, RESPONSE, **given)
    return found


def test_the_second_attribution_asks_the_model_nothing(tmp_path: Path) -> None:
    plain, first, second = run(), run(cache=tmp_path / "v.sqlite"), run(cache=tmp_path / "v.sqlite")
    assert first.values == pytest.approx(plain.values, abs=1e-5)
    assert second.values == first.values
    assert (first.passes, second.passes, second.tokens) == (plain.passes, 0, 0)


def test_one_entry_serves_every_method_unit_and_baseline(tmp_path: Path) -> None:
    run(cache=tmp_path)
    assert (tmp_path / "values.sqlite").exists()
    assert run(cache=tmp_path, unit="probability").passes == 0
    tokens = run(cache=tmp_path, segments="token", method="sig")
    assert run(cache=tmp_path, segments="token", method="sig").passes == 0
    assert run(cache=tmp_path, segments="token").values == pytest.approx(tokens.values, abs=1e-5)


def test_another_model_response_or_target_is_another_entry(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "v.sqlite"
    run(cache=place)
    changed = copy.deepcopy(toys.llama())
    with torch.no_grad():
        changed.lm_head.weight[7, 3] += 1.0
    assert run(cache=place, model=changed).passes > 0
    assert run(cache=place, target="dog").passes > 0
    assert run(cache=place, model=copy.deepcopy(toys.llama())).passes == 0


def test_the_fingerprint_sees_weights_type_and_configuration() -> None:
    model = toys.llama()
    same, half, scaled = copy.deepcopy(model), copy.deepcopy(model).to(torch.bfloat16), copy.deepcopy(model)
    scaled.config.rms_norm_eps = 1e-3
    prints = [compute_fingerprint(m) for m in (model, same, half, scaled)]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_no_text_is_kept(tmp_path: Path) -> None:
    run(cache=tmp_path / "v.sqlite")
    kept = (tmp_path / "v.sqlite").read_bytes()
    assert not any(word in kept for word in (b"Lily", b"ball", b"dog"))
    assert (tmp_path / "v.sqlite").stat().st_mode & 0o777 == 0o600


def test_what_is_not_finite_is_not_kept(tmp_path: Path) -> None:
    def broken(prompts: Any, query: Query, tick: Any) -> Any:
        return np.full((len(prompts), 1), np.nan)

    def right(prompts: Any, query: Query, tick: Any) -> Any:
        return np.ones((len(prompts), 1))

    cache, query = ValueCache(tmp_path / "v.sqlite", "m"), Query((), (0,), (2,))
    got = [cache.through(f, [(1,)], query, lambda p, t: None) for f in (broken, right)]  # type: ignore[arg-type]
    assert np.isnan(got[0]).all()
    assert (got[1].tolist(), cache.hits) == ([[1.0]], 0)


def test_a_file_that_is_no_cache_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "v.sqlite").write_text("not a database, and long enough to be read as one " * 20)
    with pytest.raises(AttributionError, match="name another file or delete it"):
        run(cache=tmp_path / "v.sqlite")


_WORKER = """
import sys
import numpy as np
from llm_trace.attribution.models.cache import ValueCache
from llm_trace.attribution.question.objective import Query

cache, first = ValueCache(sys.argv[1], "model"), int(sys.argv[2])
forward = lambda prompts, query, tick: np.array([[float(p[0])] for p in prompts])
for at in range(first, first + 300, 20):
    prompts = [(i,) for i in range(at, at + 20)]
    got = cache.through(forward, prompts, Query((), (0,), (0,)), lambda p, t: None)
    assert got[:, 0].tolist() == [float(i) for i in range(at, at + 20)]
assert "torch" not in sys.modules
"""


def test_many_processes_share_one_cache(tmp_path: Path) -> None:
    place = str(tmp_path / "v.sqlite")
    workers = [
        subprocess.Popen([sys.executable, "-c", _WORKER, place, str(first)]) for first in (0, 100, 200)
    ]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    cache = ValueCache(place, "model")
    got = cache.through(None, [(i,) for i in range(500)], Query((), (0,), (0,)), lambda p, t: None)  # type: ignore[arg-type]
    assert got[:, 0].tolist() == [float(i) for i in range(500)]


@pytest.mark.parametrize(
    "method", ["occlusion", "sig", "sig_word", "shapley", "integrated_gradients", "attention", "saliency"]
)
def test_the_plan_says_what_it_will_cost(method: str) -> None:
    settings: dict[str, Any] = {
        "segments": "sentence" if method == "shapley" else "word",
        "method": method,
        "baseline": "auto",
    }
    settings["model"] = toys.llama(initializer_range=0.04)
    plan = attribute(PROMPT, RESPONSE, tokenizer=toys.byte_level(), dry_run=True, **settings)
    made = run(**settings)
    assert (plan.method, plan.segments, plan.target) == (method, len(made.segments), "the whole response")
    assert plan.evaluations == pytest.approx(made.passes, abs=12)  # the checks come on top
    assert 0 < plan.evaluations <= made.passes + 1
    assert 0.4 * made.tokens <= plan.tokens <= 1.6 * made.tokens
    assert plan.seconds > 0


def test_the_seconds_of_a_plan_are_by_a_pass_that_computes_the_whole_prompt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, passes = toys.llama(), list[int]()

    def count(module: Any, arguments: Any, named: Any) -> None:
        passes.append((arguments[0] if arguments else named["input_ids"]).numel())

    clock = SimpleNamespace(perf_counter=lambda: float(len(passes)))  # a second for each pass
    monkeypatch.setattr(dry_run, "time", clock)
    hook = model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        plan = attribute(PROMPT, RESPONSE, model=model, tokenizer=toys.byte_level(), dry_run=True)
    finally:
        hook.remove()
    assert passes[-1] == max(passes)
    assert plan.seconds == pytest.approx(plan.tokens / passes[-1])


def test_a_plan_runs_no_method_and_keeps_to_the_budget() -> None:
    settings: dict[str, Any] = {
        "model": toys.llama(),
        "tokenizer": toys.byte_level(),
        "method": "permutation",
    }
    plan = attribute(PROMPT, RESPONSE, dry_run=True, budget=80, **settings)
    assert 30 < plan.evaluations <= 80
    assert plan.baseline.startswith("mask")


def adapted() -> Any:
    """A model with an adapter that changes its answers, and can be switched off."""
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "o_proj"], task_type="CAUSAL_LM")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by old names
        model = peft.get_peft_model(copy.deepcopy(toys.llama()), config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.5)
    return model.eval()


def test_an_adapter_switched_off_is_another_model(tmp_path: Path) -> None:
    model = adapted()
    on = run(cache=tmp_path, model=model)
    with model.disable_adapter():
        off = run(cache=tmp_path, model=model)
    assert off.passes > 0
    assert off.values == pytest.approx(run().values, abs=1e-4)
    again = run(cache=tmp_path, model=model)
    assert (again.values, again.passes) == (on.values, 0)


def test_offloaded_weights_are_part_of_the_fingerprint() -> None:
    accelerate = pytest.importorskip("accelerate")
    plain, tied = copy.deepcopy(toys.llama()), copy.deepcopy(toys.llama(tie_word_embeddings=True))
    other = copy.deepcopy(plain)
    with torch.no_grad():
        other.model.layers[1].mlp.up_proj.weight[0, 0] += 1.0
    prints = [
        compute_fingerprint(accelerate.cpu_offload(m, execution_device=torch.device("cpu")))
        for m in (plain, other, tied)
    ]
    assert len(set(prints)) == 3


def test_a_hook_of_the_users_is_refused_with_a_cache_and_works_without(tmp_path: Path) -> None:
    model = copy.deepcopy(toys.llama())
    model.model.layers[0].register_forward_hook(lambda _module, _inputs, out: out)
    assert run(model=model).values == pytest.approx(run().values, abs=1e-5)
    with pytest.raises(AttributionError, match=r"'model.layers.0' has a hook"):
        run(model=model, cache=tmp_path)


def test_computing_does_not_change_the_fingerprint() -> None:
    model = copy.deepcopy(toys.llama())
    before = compute_fingerprint(model)
    for method in ("occlusion", "saliency", "attention", "routes"):
        run(model=model, method=method)
    assert compute_fingerprint(model.train()) == before


def test_what_begins_a_translation_is_part_of_the_fingerprint() -> None:
    model = copy.deepcopy(toys.llama())
    before = compute_fingerprint(model)
    model.generation_config.forced_bos_token_id = 7
    assert compute_fingerprint(model) != before


@pytest.mark.parametrize("kind", ["PromptTuningConfig", "PrefixTuningConfig"])
def test_a_learned_prompt_gets_none_of_the_attention_of_the_words(kind: str) -> None:
    peft = pytest.importorskip("peft")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        config = getattr(peft, kind)(task_type="CAUSAL_LM", num_virtual_tokens=5)
        model = peft.get_peft_model(copy.deepcopy(toys.llama()), config).eval()
        tokenizer = toys.byte_level()
        got = attribute(
            PROMPT, " One", model=model, tokenizer=tokenizer, method="attention", segments="token"
        )
        with pytest.raises(AttributionError, match="prompt of its own"):
            attribute(PROMPT, " One", model=model, tokenizer=tokenizer, method="routes")
        model.base_model.set_attn_implementation("eager")
        ids = tokenizer(PROMPT, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            layers = model(ids, output_attentions=True).attentions
    looked = torch.stack([layer[0].mean(0)[-1] for layer in layers]).mean(0)
    assert got.values == pytest.approx(looked[5:].tolist(), abs=1e-5)


def test_a_classifier_behind_a_learned_prompt_looks_from_its_first_place_at_the_words() -> None:
    peft = pytest.importorskip("peft")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        config = peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=5)
        model = peft.get_peft_model(copy.deepcopy(toys.bert()), config).eval()
        tokenizer = toys.word_piece()
        got = attribute(
            "lily red", "LABEL_1", model=model, tokenizer=tokenizer, method="attention", segments="token"
        )
        model.base_model.set_attn_implementation("eager")
        ids = tokenizer("lily red", return_tensors="pt")["input_ids"]
        with torch.no_grad():
            layers = model(ids, output_attentions=True).attentions
    looked = torch.stack([layer[0].mean(0)[0] for layer in layers]).mean(0)
    assert got.values == pytest.approx(looked[6:-1].tolist(), abs=1e-5)
