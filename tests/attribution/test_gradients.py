"""Gradient and one-pass methods: finite differences, exact forms, axioms; the model is left as it was."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from llm_trace.attribution.api import attribute
from llm_trace.attribution.core.value import BudgetError, Metered
from llm_trace.attribution.methods.attention import use_eager_attention
from llm_trace.attribution.methods.registry import find_method, get_info, list_methods
from llm_trace.attribution.methods.sequential_gradients import integrate_tokens
from llm_trace.attribution.models.embeddings import build_ground, compute_values, integrate_paths
from llm_trace.attribution.models.problem import Problem, build_problem
from llm_trace.attribution.models.questions import parse_question
from llm_trace.attribution.question.targets import Contrast
from llm_trace.demo.model import WEIGHTS, load_model
from llm_trace.demo.world import make_cases
from llm_trace.errors import AttributionError
from llm_trace.record import Attribution
from tests.helpers import attribution_toys as toys

torch = toys.torch
PROMPT = "Lily had a red ball. One day Tom came."
RESPONSE = " One day the dog came."
OURS = (
    "saliency",
    "input_x_gradient",
    "integrated_gradients",
    "sig",
    "sig_word",
    "sig_normalised",
    "sig_integral",
    "attention",
    "routes",
)


def run(method: str, response: str = RESPONSE, **settings: Any) -> Attribution:
    given = {"model": toys.llama(), "tokenizer": toys.byte_level(), "segments": "token"} | settings
    found: Attribution = attribute(PROMPT, response, method=method, **given)
    return found


def work_of(model: Any, tokenizer: Any, prompt: str = PROMPT, response: str = RESPONSE) -> Problem:
    return build_problem(
        parse_question(prompt, response), model, tokenizer, "toy", segments="token", target=None
    )


def plain_value(work: Problem, embeddings: Any) -> Any:
    """Log-probability of the response after embedded tokens, in the plainest way."""
    response = torch.tensor(work.response.ids)
    tail = work.model.get_input_embeddings()(response[:-1])
    logits = work.model(inputs_embeds=torch.cat([embeddings, tail])[None]).logits[0, len(embeddings) - 1 :]
    return logits.log_softmax(-1)[torch.arange(len(response)), response].sum()


@pytest.mark.parametrize("make", [toys.byte_level, toys.sentence_piece])
def test_sig_equals_leave_one_out_against_the_mask(make: Any) -> None:
    by_token = run("sig", tokenizer=make())
    assert by_token.values == pytest.approx(
        run("occlusion", tokenizer=make(), baseline="mask").values, abs=1e-4
    )
    assert by_token.baseline.startswith("mask: '_'")
    words = run("sig", tokenizer=make(), segments="word")
    inside = [
        [i for i, t in enumerate(by_token.segments) if t.start < w.end and w.start < t.end]
        for w in words.segments
    ]
    assert words.values == pytest.approx(
        [sum(by_token.values[i] for i in group) for group in inside], abs=1e-4
    )
    assert any("sum of its tokens' scores" in note for note in words.notes)
    masked = run("sig_word", tokenizer=make(), segments="word")
    loo = run("occlusion", tokenizer=make(), baseline="mask", segments="word")
    assert masked.values == pytest.approx(loo.values, abs=1e-4)
    assert np.array(masked.matrix) == pytest.approx(np.array(loo.matrix), abs=1e-4)


def test_the_path_integral_converges_to_the_exact_form() -> None:
    work = work_of(toys.llama(initializer_range=0.12), toys.byte_level())
    source = work.value("mask")
    assert source.work is not None
    masked = source.work.masked()
    exact = find_method("sig")(Metered(source), work.n).values
    apart = [
        np.abs(masked.shares @ integrate_tokens(source, masked, steps)[0] - exact).max()
        for steps in (2, 8, 24)
    ]
    assert apart[0] > apart[1] > apart[2]
    assert apart[2] < 1e-3 * np.abs(exact).max()


def test_the_published_form_gives_the_same_scores_on_a_trained_model() -> None:
    model, tokenizer = toys.stories()
    text, said = "Once upon a time there was a girl named Lily.", " Lily was happy."
    both = [
        attribute(
            text, said, model=model, tokenizer=tokenizer, method=method, segments="word", baseline="mask"
        )
        for method in ("sig", "sig_integral")
    ]
    assert np.corrcoef(both[0].values, both[1].values)[0, 1] > 0.999
    assert both[1].tokens > 50 * both[0].tokens


def test_sig_divided_by_its_length_over_the_sentence() -> None:
    raw, normal = run("sig"), run("sig_normalised")
    assert np.linalg.norm(normal.values) == pytest.approx(1.0)
    assert np.array(normal.values) * np.linalg.norm(raw.values) == pytest.approx(np.array(raw.values))
    assert (normal.unit, normal.completeness_gap) == ("share", None)


def test_integrated_gradients_are_complete_on_a_trained_model() -> None:
    model, tokenizer = toys.stories()
    text, said = "Once upon a time there was a girl named Lily. She had a red ball.", " Lily was happy."
    found = attribute(text, said, model=model, tokenizer=tokenizer, method="integrated_gradients")
    assert found.baseline == "mean embedding"
    assert found.full is not None
    assert found.empty is not None
    assert found.completeness_gap is not None
    assert abs(found.completeness_gap) < 0.01 * abs(found.full - found.empty)
    zero = attribute(
        text, said, model=model, tokenizer=tokenizer, method="integrated_gradients", baseline="zero"
    )
    assert zero.completeness_gap is not None
    assert abs(zero.completeness_gap) > abs(found.completeness_gap)  # known not to converge: the gap says so
    whole = tokenizer(text)["input_ids"]
    response = tokenizer(text + said)["input_ids"][len(whole) :]
    assert found.full == pytest.approx(toys.brute(model, whole, response).sum(), abs=1e-3)


def test_integrated_gradients_equal_the_plain_loop() -> None:
    work = work_of(toys.llama(initializer_range=0.12), toys.byte_level())
    at = build_ground(work.value("auto"))
    base = at.mean().expand_as(at.inputs)
    assert torch.allclose(at.mean(), work.model.get_input_embeddings().weight.mean(0), atol=1e-6)
    got = integrate_paths(at, base, at.owned.all, 16)[0]
    nodes, weights = np.polynomial.legendre.leggauss(16)
    expected = np.zeros(len(at.inputs))
    for node, weight in zip(nodes, weights, strict=True):
        point = (base + (node + 1) / 2 * (at.inputs - base)).detach().requires_grad_()
        (slope,) = torch.autograd.grad(plain_value(work, point), point)
        expected += weight / 2 * (slope * (at.inputs - base)).sum(-1).numpy()
    assert got == pytest.approx(expected, abs=1e-4)


def test_steps_are_doubled_until_every_score_stands_still() -> None:
    model = toys.llama(initializer_range=0.5)
    found, at = (
        run("integrated_gradients", model=model),
        build_ground(work_of(model, toys.byte_level()).value("auto")),
    )
    base = at.mean().expand_as(at.inputs)
    few, fine = (at.per_segment(integrate_paths(at, base, at.owned.all, steps)[0]) for steps in (32, 512))
    assert found.full is not None
    assert found.empty is not None
    whole, largest = found.full - found.empty, np.abs(fine).max()
    assert abs(whole - few.sum()) < 0.01 * abs(whole), "with 32 steps the errors cancel in the sum"
    assert np.abs(few - fine).max() > 0.5 * largest
    assert np.abs(np.array(found.values) - fine).max() < 0.03 * largest
    assert "the last doubling moved a score by" in found.notes[-1]


def test_baselines_are_averaged() -> None:
    settings: dict[str, Any] = {"model": toys.llama(initializer_range=0.12)}
    one, two, both = (
        run("integrated_gradients", baseline=b, **settings) for b in ("mean", "mask", ["mean", "mask"])
    )
    assert np.array(both.values) == pytest.approx((np.array(one.values) + np.array(two.values)) / 2)
    assert both.baseline.startswith("mean over 2 of: mean embedding; mask: '_'")
    assert both.completeness_gap == pytest.approx(
        ((one.completeness_gap or 0) + (two.completeness_gap or 0)) / 2, abs=1e-9
    )


@pytest.mark.parametrize("budget", [1, 2, 3, 8, 20, 50, 60])
@pytest.mark.parametrize(
    ("method", "baseline"),
    [*((m, "auto") for m in OURS), ("integrated_gradients", ["mean", "zero"])],
    ids=str,
)
def test_no_more_evaluations_than_the_budget_pays_for(method: str, baseline: Any, budget: int) -> None:
    model = toys.llama(initializer_range=0.5)  # on which Integrated Gradients would take many steps
    run(method, model=model, baseline=baseline)  # what is compared once per model is behind us
    try:
        found = run(method, model=model, baseline=baseline, budget=budget)
    except BudgetError as exc:
        least = len(asked_tokens()) + 2 if method.startswith("sig") else 5 if baseline != "auto" else 3
        assert budget < (least * 50 if method == "sig_integral" else least)
        assert f"the budget pays for {budget} more evaluations" in str(exc)
    else:
        assert found.passes is not None
        assert 0 < found.passes <= budget


def test_several_baselines_share_what_the_budget_pays_for() -> None:
    model = toys.llama(initializer_range=0.5)
    found = run("integrated_gradients", model=model, baseline=["mean", "zero"], budget=21)
    assert found.passes == 21  # the whole prompt, two empty ones, 3 + 6 steps from each
    assert ["in 6 steps" in note for note in found.notes] == [True, True]


def test_what_a_gradient_method_spends_is_no_longer_there_for_the_check_of_the_baseline() -> None:
    least = len(asked_tokens()) + 2
    assert run("sig", budget=least + 5).passes == least
    assert run("sig", budget=least + 6).passes == least + 6


def asked_tokens() -> Any:
    """The prompt's tokens."""
    return work_of(toys.llama(), toys.byte_level()).segmented.segments


def test_saliency_and_input_x_gradient_equal_finite_differences() -> None:
    model = copy.deepcopy(toys.llama(initializer_range=0.12)).double()
    work = work_of(model, toys.byte_level())
    inputs = model.get_input_embeddings()(torch.tensor(work.codec.ids(PROMPT))).detach()
    slope = torch.zeros_like(inputs)
    with torch.no_grad():
        for at in np.ndindex(3, inputs.shape[1]):
            step = torch.zeros_like(inputs)
            step[at] = 1e-3
            slope[at] = (plain_value(work, inputs + step) - plain_value(work, inputs - step)) / 2e-3
    for method, expected in (
        ("saliency", slope.norm(dim=-1)),
        ("input_x_gradient", (slope * inputs).sum(-1)),
    ):
        found = find_method(method)(Metered(work.value("mask")), work.n)
        assert found.values[:3] == pytest.approx(expected[:3].numpy(), rel=5e-3, abs=1e-3)


def test_on_an_additive_model_all_signed_methods_give_the_true_effects() -> None:
    """A model whose logits are the sum of its tokens' embeddings: all methods see linear effects."""
    model, tokenizer = Bag(), toys.letters()
    settings: dict[str, Any] = {"model": model, "tokenizer": tokenizer, "segments": "token", "unit": "logit"}
    masked = attribute("ABCA", "B", method="occlusion", baseline="C", **settings)
    weight = model.table.weight.detach().double()
    # logit of p = log(p/(1-p)) is linear in the sum where only two tokens exist
    effects = [
        float(weight[i] @ model.out.detach().double() - weight[2] @ model.out.detach().double())
        for i in (0, 1, 2, 0)
    ]
    assert masked.values == pytest.approx(effects, abs=1e-4)
    path = attribute("ABCA", "B", method="integrated_gradients", baseline="mean", **settings)
    middle = float(weight.mean(0) @ model.out.detach().double())
    means = [float(weight[i] @ model.out.detach().double()) - middle for i in (0, 1, 2, 0)]
    assert path.values == pytest.approx(means, abs=1e-4)
    first = attribute("ABCA", "B", method="input_x_gradient", **settings)
    assert first.values == pytest.approx([m + middle for m in means], abs=1e-4)
    assert first.completeness_gap == pytest.approx(0.0, abs=1e-4)


class Bag(torch.nn.Module):  # type: ignore[misc,name-defined]
    """Two tokens that can be said; the odds are the sum of what the tokens read so far weigh."""

    class config:
        is_encoder_decoder, vocab_size, name_or_path = False, 3, "bag"
        hidden_size, num_hidden_layers, intermediate_size = 4, 1, 4

        @classmethod
        def get_text_config(cls, decoder: bool) -> Any:
            return cls

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.out = torch.nn.Embedding(3, 4), torch.nn.Parameter(torch.randn(4) / 4)

    def get_input_embeddings(self) -> Any:
        return self.table

    def forward(self, input_ids: Any = None, inputs_embeds: Any = None, **rest: Any) -> Any:
        x = self.table(input_ids) if inputs_embeds is None else inputs_embeds
        odds = (x @ self.out).cumsum(1)
        far = torch.full_like(odds, -1e4)
        zero = torch.zeros_like(odds)
        return type("Out", (), {"logits": torch.stack([zero, odds, far], -1), "past_key_values": None})


def test_attention_is_the_mean_of_the_weights_where_the_tokens_are_predicted() -> None:
    found = run("attention")
    work = work_of(toys.llama(), toys.byte_level())
    model = copy.deepcopy(work.model)
    model.set_attn_implementation("eager")
    prompt = work.codec.ids(PROMPT)
    ids = torch.tensor([[*prompt, *work.response.ids[:-1]]])
    layers = torch.stack(model(ids, output_attentions=True).attentions)[:, 0]
    rows = layers.mean((0, 1))[len(prompt) - 1 :, : len(prompt)].detach().numpy()
    assert np.array(found.matrix) * len(rows) == pytest.approx(rows, abs=1e-6)
    assert (found.unit, found.bounds) == ("share", "exact")
    assert 0 < sum(found.values) <= 1
    with pytest.raises(AttributionError, match="cannot tell one answer from another"):
        run("attention", target=("One", "Two"))


@pytest.mark.parametrize("method", OURS)
def test_every_method_keeps_the_contract(method: str) -> None:
    model = copy.deepcopy(toys.llama(initializer_range=0.12))
    model.train()
    model.model.layers[0].eval()
    model.lm_head.weight.requires_grad_(False)
    before = toys.state_of(model), copy.deepcopy(model.config.__dict__), model.forward, dict(model.__dict__)
    with torch.no_grad():  # gradients are asked for inside, whatever the caller's mode
        found = run(method, model=model, segments="word")
    assert method in list_methods()
    assert get_info(method).source
    assert len(found.values) == len(found.segments)
    if found.matrix is not None:
        assert len(found.matrix) == len(found.target_tokens)
        assert np.array(found.matrix).sum(axis=0) == pytest.approx(np.array(found.values), abs=1e-9)
    assert found.passes > 0
    assert found.tokens > 0
    assert found == Attribution.model_validate_json(found.model_dump_json())
    again = run(method, model=model, segments="word")
    assert again.model_copy(update={"seconds": 0}) == found.model_copy(update={"seconds": 0})
    assert all(p.grad is None for p in model.parameters())
    after = toys.state_of(model), copy.deepcopy(model.config.__dict__), model.forward, dict(model.__dict__)
    assert after == before


@pytest.mark.parametrize(("method", "count"), [("sig", 4), ("sig_word", 4)])
def test_the_planted_word_comes_first_on_the_embedded_model(method: str, count: int) -> None:
    if not (WEIGHTS / "model.safetensors").exists():
        pytest.skip("the embedded model is not here")
    model, tokenizer = load_model()
    for case in make_cases("single", count, 1):
        other = " APPROVE" if case.answer != " APPROVE" else " DENY"
        question = parse_question(case.prompt, case.answer)
        work = build_problem(question, model, tokenizer, "demo", segments="word", target=Contrast(other))
        found = find_method(method)(Metered(work.value("auto")), work.n)
        top = work.segmented.segments[int(np.argmax(np.abs(found.values)))]
        assert any(start < top.end and top.start < end for start, end in case.spans)


def test_what_attention_does_not_write_stays_where_it_is() -> None:
    model = copy.deepcopy(toys.llama())
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.data.zero_()
    found = run("routes", model=model, segments="token")
    assert found.matrix is not None
    assert found.matrix[0] == pytest.approx([0.0] * (len(found.values) - 1) + [1 / len(found.matrix)])
    assert np.array(found.matrix)[1:] == pytest.approx(0.0)  # predicted from the response's own tokens


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_one_layer_of_routes_is_the_share_by_which_each_edge_brings_the_sum_nearer(family: str) -> None:
    config: dict[str, Any] = {"vocab_size": len(toys.byte_level()), "attn_implementation": "eager"}
    torch.manual_seed(0)
    if family == "llama":
        config |= {
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
        }
        model = toys.transformers.LlamaForCausalLM(
            toys.transformers.LlamaConfig(**config, num_key_value_heads=2, initializer_range=0.5)
        ).eval()
        block, norm = model.model.layers[0].self_attn, model.model.layers[0].input_layernorm
        write, embed = block.o_proj.weight.T, model.model.embed_tokens
        read: Any = block.v_proj
    else:
        config |= {"n_embd": 16, "n_layer": 1, "n_head": 4, "initializer_range": 0.5}
        model = toys.transformers.GPT2LMHeadModel(toys.transformers.GPT2Config(**config)).eval()
        block, norm = model.transformer.h[0].attn, model.transformer.h[0].ln_1
        write = block.c_proj.weight

        def embed(ids: Any) -> Any:
            return model.transformer.wte(ids) + model.transformer.wpe(torch.arange(ids.shape[1]))

        def read(x: Any) -> Any:
            return block.c_attn(x)[..., 32:]

    found = run("routes", model=model, segments="token", response="!")
    assert found.matrix is not None
    with torch.no_grad():
        ids = torch.tensor([toys.byte_level()(PROMPT)["input_ids"]])
        stream = embed(ids)[0]
        weights = model(ids, output_attentions=True).attentions[0][0, :, -1]
        values, at = read(norm(stream[None]))[0], ids.shape[1] - 1
        edges = {
            (h, j): weights[h, j] * values[j, 4 * h : 4 * h + 4] @ write[4 * h : 4 * h + 4]
            if family == "gpt2"
            else weights[h, j] * values[j, 4 * (h // 2) : 4 * (h // 2) + 4] @ write[4 * h : 4 * h + 4]
            for h in range(4)
            for j in range(at + 1)
        }
        total = stream[at] + sum(edges.values())
        near = [0.0] * (at + 1)
        for (_, j), edge in [*edges.items(), ((-1, at), stream[at])]:
            near[j] += max(0.0, float(total.abs().sum() - (total - edge).abs().sum()))
    assert np.array(found.matrix[0]) == pytest.approx(np.array(near) / sum(near), abs=1e-5)


def test_routes_say_where_they_cannot_be_followed() -> None:
    with pytest.raises(AttributionError, match="cannot tell one answer from another"):
        run("routes", target=("One", "Two"))
    config = toys.transformers.Gemma2Config(
        vocab_size=len(toys.byte_level()), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=2, head_dim=4, initializer_range=2.0,
    )  # fmt: skip
    torch.manual_seed(0)  # with small weights the norm may change next to nothing, and all is well
    normalising = toys.transformers.Gemma2ForCausalLM(config).eval()  # norms what attention writes
    with pytest.raises(AttributionError, match="cannot be taken apart"):
        run("routes", model=normalising)


def test_attention_gives_the_implementation_back_after_an_error() -> None:
    model = copy.deepcopy(toys.llama())
    with pytest.raises(RuntimeError, match="inside"), use_eager_attention(model):
        assert model.config._attn_implementation == "eager"
        raise RuntimeError("inside")
    assert model.config._attn_implementation == "sdpa"


def test_memory_that_runs_out_on_the_way_back_halves_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = copy.deepcopy(toys.llama(initializer_range=0.12))
    at = build_ground(work_of(model, toys.byte_level()).value("auto"))
    base = at.mean().expand_as(at.inputs)
    right, forward, sizes = integrate_paths(at, base, at.owned.all, 8), model.forward, []

    def small(**given: Any) -> Any:
        sizes.append(len(given["inputs_embeds"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("out of memory")
        return forward(**given)

    monkeypatch.setattr(model, "forward", small)
    assert integrate_paths(at, base, at.owned.all, 8) == pytest.approx(right, abs=1e-5)
    assert sizes == [8, 4, 2, 2, 2, 2]


def test_values_of_embedded_prompts_equal_those_of_their_ids() -> None:
    work = work_of(toys.llama(), toys.byte_level())
    source = work.value("mask")
    at = build_ground(source)
    assert compute_values(at, at.inputs[None])[0] == pytest.approx(
        source.of([tuple(at.owned.ids.tolist())]).sum(), abs=1e-4
    )


def test_what_cannot_be_done_is_said() -> None:
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("integrated_gradients", {"baseline": "delete"}, "mean, mask and zero"),
        ("sig", {"baseline": "delete"}, "begin at the mask"),
        ("occlusion", {"baseline": "mean"}, "only gradient methods"),
        ("occlusion", {"baseline": []}, "list of baselines is empty"),
        ("sig", {"budget": 3}, "sig needs"),
    ]
    for method, settings, message in cases:
        with pytest.raises(AttributionError, match=message):
            run(method, **settings)
    with pytest.raises(BudgetError):
        run("sig_integral", budget=100)
    with pytest.raises(AttributionError, match="needs a local model"):
        find_method("saliency")(lambda masks: masks.sum(axis=1), 3)
    broken = copy.deepcopy(toys.llama())
    with torch.no_grad():
        broken.lm_head.weight.fill_(float("nan"))
    for method in OURS:
        with pytest.raises(AttributionError, match="NaN"):
            run(method, model=broken)
