"""Instrumented models of transformers: what a call holds, and the very model that explains it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

import llm_trace
from llm_trace.capture import failures
from llm_trace.errors import AttributionError
from llm_trace.record import Usage
from tests.conftest import Recorded

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

PROMPT = "Customer: Hello, I bought this lamp 75 days ago. Thanks.\n\nAnswer:"


@pytest.fixture(scope="module")
def demo() -> Any:
    from llm_trace.demo.model import load_model

    return load_model()


@pytest.fixture
def undo(store: Recorded) -> Iterator[Any]:
    with llm_trace.instrument("transformers") as undo:
        yield undo
    assert not failures.counts


def get_ids(call: Any) -> list[list[int]]:
    return [part.token_ids for message in call.messages_out for part in message.parts]


@pytest.mark.usefixtures("undo")
def test_a_generation_says_prompt_parameters_ids_tokens_and_why_it_ended(store: Recorded, demo: Any) -> None:
    model, tokenizer = demo
    inputs = tokenizer(PROMPT, return_tensors="pt")
    output = model.generate(**inputs, max_new_tokens=4, do_sample=False, output_scores=False)
    call: Any = store.one()
    given, new = inputs["input_ids"][0].tolist(), output[0, inputs["input_ids"].shape[1] :].tolist()
    assert (call.name, call.kind, call.model) == ("transformers.generate", "llm", "LlamaForCausalLM")
    assert call.input == {
        "prompt": PROMPT, "input_ids": given, "max_new_tokens": 4, "do_sample": False, "output_scores": False,
    }  # fmt: skip
    assert call.output == tokenizer.decode(new, skip_special_tokens=True) == " DENY"
    assert get_ids(call) == [new]
    assert [m.finish_reason for m in call.messages_out] == ["stop"]
    assert call.usage == Usage(input_tokens=len(given), output_tokens=len(new))
    assert call.params == {"max_new_tokens": 4, "do_sample": False, "output_scores": False}


@pytest.mark.usefixtures("undo")
def test_padding_is_not_counted_and_each_row_ends_for_its_own_reason(store: Recorded, demo: Any) -> None:
    model, tokenizer = demo
    prompts = [PROMPT, "Hello"]
    inputs = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left")
    model.generate(**inputs, max_new_tokens=3, do_sample=False)
    call: Any = store.one()
    assert call.input["prompt"] == prompts
    lengths = [len(tokenizer(prompt)["input_ids"]) for prompt in prompts]
    assert [len(ids) for ids in call.input["input_ids"]] == lengths
    ended = [(len(ids), m.finish_reason) for ids, m in zip(get_ids(call), call.messages_out, strict=True)]
    assert ended == [(2, "stop"), (3, "length")]
    assert call.usage == Usage(input_tokens=sum(lengths), output_tokens=5)


@pytest.mark.usefixtures("undo")
def test_a_sampled_generation_says_its_seed_and_the_config_it_was_given(store: Recorded, demo: Any) -> None:
    model, tokenizer = demo
    transformers.set_seed(11)
    config = transformers.GenerationConfig(
        do_sample=True, temperature=0.5, max_new_tokens=2, num_return_sequences=3, pad_token_id=0
    )
    model.generate(tokenizer.encode(PROMPT, return_tensors="pt"), generation_config=config)
    call: Any = store.one()
    assert call.params == {
        "do_sample": True, "temperature": 0.5, "max_new_tokens": 2, "num_return_sequences": 3, "seed": 11,
    }  # fmt: skip
    assert len(call.messages_out) == len(call.output) == 3
    assert call.usage.input_tokens == len(tokenizer(PROMPT)["input_ids"])


@pytest.mark.usefixtures("undo")
def test_a_chat_is_recorded_as_the_messages_that_the_template_was_given(store: Recorded, demo: Any) -> None:
    model, tokenizer = demo
    chat = [{"role": "user", "content": "I bought this lamp 75 days ago."}]
    inputs = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    model.generate(**inputs, max_new_tokens=2, do_sample=False)
    chat.append({"role": "assistant", "content": "later"})
    call: Any = store.one()
    assert call.input["messages"] == chat[:1]
    assert [(m.role, m.text) for m in call.messages_in] == [("user", "I bought this lamp 75 days ago.")]


@pytest.mark.usefixtures("undo")
def test_ids_of_no_known_tokenizer_stay_ids(store: Recorded, demo: Any) -> None:
    model, _ = demo
    ids = torch.tensor([[1, 320, 321, 322]])
    output = model.generate(ids, max_new_tokens=2, do_sample=False)
    call: Any = store.one()
    assert call.input == {"input_ids": [1, 320, 321, 322], "max_new_tokens": 2, "do_sample": False}
    assert call.output == {"token_ids": output[0, 4:].tolist()}
    assert [part.type for m in call.messages_out for part in m.parts] == ["token_ids"]
    with pytest.raises(AttributionError, match="tokenizer of call .* is not known or gone: pass tokenizer="):
        fresh = transformers.LlamaForCausalLM(model.config)
        fresh.generate(ids, max_new_tokens=1)
        llm_trace.attribute(store.calls(limit=1)[0])


@pytest.mark.usefixtures("undo")
def test_a_streamed_generation_says_when_its_first_token_came(store: Recorded, demo: Any) -> None:
    model, tokenizer = demo
    streamer = transformers.TextIteratorStreamer(tokenizer, skip_prompt=True)
    output = model.generate(
        tokenizer(PROMPT, return_tensors="pt")["input_ids"], streamer=streamer, max_new_tokens=3
    )
    assert "".join(streamer) == tokenizer.decode(output[0, -2:])
    assert "put" not in vars(streamer)
    call: Any = store.one()
    assert call.input["streamer"] == "TextIteratorStreamer"
    assert call.params["stream"] is True
    assert call.start_ns < call.first_token_ns < call.end_ns


@pytest.mark.usefixtures("undo")
def test_scores_caches_and_embeddings_are_not_written_whole(store: Recorded, demo: Any) -> None:
    model, tokenizer = demo
    embeds = model.get_input_embeddings()(tokenizer(PROMPT, return_tensors="pt")["input_ids"])
    output = model.generate(
        inputs_embeds=embeds, max_new_tokens=2, return_dict_in_generate=True, output_scores=True
    )
    assert type(output).__name__ == "GenerateDecoderOnlyOutput"
    call: Any = store.one()
    assert call.input["inputs_embeds"] == {"shape": list(embeds.shape), "dtype": "torch.float32"}
    assert call.usage == Usage(input_tokens=embeds.shape[1], output_tokens=2)
    assert call.output == {"token_ids": output["sequences"][0].tolist()}


@pytest.mark.usefixtures("undo")
def test_an_encoder_decoder_is_counted_without_the_start_of_its_decoder(store: Recorded, demo: Any) -> None:
    config = transformers.T5Config(
        vocab_size=1024, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    model = transformers.T5ForConditionalGeneration(config).eval()
    ids = torch.tensor([[5, 6, 7, 1], [8, 1, 0, 0]])
    output = model.generate(ids, max_new_tokens=3, min_new_tokens=3, do_sample=False, suppress_tokens=[0])
    call: Any = store.one()
    assert get_ids(call) == output[:, 1:].tolist()
    assert call.input["input_ids"] == [[5, 6, 7, 1], [8, 1]]
    assert call.usage == Usage(input_tokens=6, output_tokens=6)


@pytest.mark.usefixtures("undo")
def test_a_generation_that_fails_is_an_error_call(store: Recorded, demo: Any) -> None:
    with pytest.raises(ValueError, match="max_new_tokens"):
        demo[0].generate(torch.tensor([[1, 2]]), max_new_tokens=-1)
    call: Any = store.one()
    assert (call.status, call.error.type, call.input["input_ids"]) == ("error", "ValueError", [1, 2])


@pytest.mark.usefixtures("undo")
def test_a_pipeline_is_one_call_with_the_generations_inside_it(store: Recorded, demo: Any) -> None:
    model, tokenizer = demo
    pipeline = transformers.TextGenerationPipeline(model=model, tokenizer=tokenizer)
    outputs = pipeline([PROMPT, "Hello"], max_new_tokens=2, do_sample=False)
    call: Any = store.one()
    assert (call.name, call.model) == ("transformers.text_generation", "LlamaForCausalLM")
    assert call.input == {"text_inputs": [PROMPT, "Hello"], "max_new_tokens": 2, "do_sample": False}
    assert call.output == outputs
    assert [PROMPT + call.messages_out[0].text, "Hello" + call.messages_out[1].text] == [
        output[0]["generated_text"] for output in outputs
    ]
    prompts = [part.prompt_token_ids for message in call.messages_out for part in message.parts]
    assert prompts == [tokenizer(text)["input_ids"] for text in (PROMPT, "Hello")]
    assert call.usage == Usage(input_tokens=sum(map(len, prompts)), output_tokens=4)
    assert (call.params["max_new_tokens"], call.params["do_sample"]) == (2, False)


@pytest.mark.usefixtures("undo")
def test_a_classification_says_its_best_label_and_its_tokens(store: Recorded, demo: Any) -> None:
    _, tokenizer = demo
    config = transformers.LlamaConfig(
        vocab_size=1024, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        pad_token_id=0, num_labels=3, id2label={0: "no", 1: "yes", 2: "maybe"},
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.LlamaForSequenceClassification(config).eval()
    pipeline = transformers.TextClassificationPipeline(model=model, tokenizer=tokenizer)
    (output,) = pipeline(PROMPT)
    call: Any = store.one()
    assert call.output == [output]
    assert [m.text for m in call.messages_out] == [output["label"]]
    assert call.usage == Usage(input_tokens=len(tokenizer(PROMPT)["input_ids"]))
    found = llm_trace.attribute(call, method="occlusion")
    wanted = llm_trace.attribute(
        PROMPT, output["label"], model=model, tokenizer=tokenizer, method="occlusion"
    )
    assert found.values == wanted.values


@pytest.mark.usefixtures("undo")
@pytest.mark.parametrize("way", ["generate", "pipeline", "chat"])
def test_a_call_is_explained_by_the_very_model_that_made_it(store: Recorded, demo: Any, way: str) -> None:
    model, tokenizer = demo
    question: Any = [{"role": "user", "content": "I bought this lamp 75 days ago."}]
    if way == "generate":
        question = PROMPT
        model.generate(**tokenizer(PROMPT, return_tensors="pt"), max_new_tokens=2, do_sample=False)
    else:
        question = PROMPT if way == "pipeline" else question
        pipeline = transformers.TextGenerationPipeline(model=model, tokenizer=tokenizer)
        pipeline(question, max_new_tokens=2, do_sample=False)
    call: Any = store.one()
    found = llm_trace.attribute(call, method="occlusion")
    wanted = llm_trace.attribute(
        question, call.messages_out[0].text, model=model, tokenizer=tokenizer, method="occlusion"
    )
    assert found.span_id == call.span_id
    ignored = {"span_id", "seconds"}
    assert found.model_dump(exclude=ignored) == wanted.model_dump(exclude=ignored)


@pytest.mark.usefixtures("undo")
def test_a_traced_function_around_a_generation_is_explained_by_its_model(store: Recorded, demo: Any) -> None:
    model, tokenizer = demo

    @llm_trace.trace(kind="llm")
    def ask(prompt: str) -> str:
        inputs = tokenizer(prompt, return_tensors="pt")
        output = model.generate(**inputs, max_new_tokens=2, do_sample=False)
        return str(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))

    assert ask(PROMPT) == " DENY"
    call: Any = store.one()
    assert (call.name.rpartition(".")[2], call.usage.output_tokens) == ("ask", 2)
    wanted = llm_trace.attribute(PROMPT, " DENY", model=model, tokenizer=tokenizer, method="occlusion")
    assert llm_trace.attribute(call, method="occlusion").values == wanted.values


def test_a_policy_without_a_model_explains_inline_by_the_model_that_made_the_call(
    recorded: Recorded, demo: Any
) -> None:
    model, tokenizer = demo
    policy = llm_trace.AttributionPolicy(method="occlusion")
    llm_trace.configure(recorded.path, attribution=policy, instrument=["transformers"])
    model.generate(**tokenizer(PROMPT, return_tensors="pt"), max_new_tokens=2, do_sample=False)
    call = recorded.one()
    (found,) = recorded.attributions(call.span_id)
    wanted = llm_trace.attribute(PROMPT, " DENY", model=model, tokenizer=tokenizer, method="occlusion")
    assert (found.values, found.verdict) == (wanted.values, wanted.verdict)


@pytest.mark.usefixtures("undo")
def test_a_deferred_policy_explains_calls_of_the_same_process_by_their_model(
    store: Recorded, demo: Any
) -> None:
    from llm_trace.attribution.policy.pool import iter_events

    model, tokenizer = demo
    model.generate(**tokenizer(PROMPT, return_tensors="pt"), max_new_tokens=2, do_sample=False)
    policy = llm_trace.AttributionPolicy(method="occlusion", mode="deferred")
    ((_, event),) = iter_events(store.calls(), policy)
    assert event is not None
    wanted = llm_trace.attribute(PROMPT, " DENY", model=model, tokenizer=tokenizer, method="occlusion")
    assert event["attribution"]["values"] == list(wanted.values)


@pytest.mark.usefixtures("undo")
def test_a_model_that_is_gone_or_of_another_process_is_said(store: Recorded, demo: Any) -> None:
    model, tokenizer = demo
    other = transformers.LlamaForCausalLM(model.config)
    other.generate(**tokenizer(PROMPT, return_tensors="pt"), max_new_tokens=1)
    call: Any = store.one()
    del other
    gc.collect()
    with pytest.raises(AttributionError, match="the model that made call .* is gone: pass model="):
        llm_trace.attribute(call)
    foreign = call.model_copy(update={"metadata": {"live_model": "00000000-1"}})
    with pytest.raises(AttributionError, match="belongs to another process: pass model="):
        llm_trace.attribute(foreign)
    with pytest.raises(AttributionError, match="not made by a model that is known here: pass model="):
        llm_trace.attribute("why?")


def test_undoing_gives_models_pipelines_and_tokenizers_back_as_they_were(store: Recorded, demo: Any) -> None:
    owners = (
        (transformers.GenerationMixin, "generate"),
        (transformers.TextGenerationPipeline, "__call__"),
        (transformers.PreTrainedTokenizerBase, "__call__"),
        (transformers.PreTrainedTokenizerBase, "apply_chat_template"),
    )
    before = [vars(owner)[name] for owner, name in owners]
    first, second = llm_trace.instrument("transformers"), llm_trace.instrument("transformers")
    assert all(vars(owner)[name] is not fn for (owner, name), fn in zip(owners, before, strict=True))
    second()
    first()
    assert [vars(owner)[name] for owner, name in owners] == before
