"""Haystack: a pipeline of prompt and generator, a stream, and an agent with a tool."""

from haystack import Pipeline
from haystack.components.agents import Agent
from haystack.components.builders import ChatPromptBuilder
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import tool
from haystack.utils import Secret


@tool
def get_height(mountain: str) -> str:
    """Return the height of a mountain."""
    return "6768 metres"


def run(url: str) -> None:
    """Run a pipeline, a streaming pipeline and an agent."""
    pipeline = Pipeline()
    template = [ChatMessage.from_user("How high is {{ mountain }}?")]
    pipeline.add_component("prompt", ChatPromptBuilder(template=template, required_variables=["mountain"]))
    pipeline.add_component("llm", _build_generator(url))
    pipeline.connect("prompt.prompt", "llm.messages")
    replies = pipeline.run({"prompt": {"mountain": "Huascarán"}})["llm"]["replies"]
    assert "6768" in replies[0].text

    pieces: list[str] = []
    streaming = Pipeline()
    streaming.add_component(
        "llm", _build_generator(url, streaming_callback=lambda chunk: pieces.append(chunk.content or ""))
    )
    streaming.run({"llm": {"messages": [ChatMessage.from_user("How high is Huascarán, streamed?")]}})
    assert "6768" in "".join(pieces)

    agents = Pipeline()
    agents.add_component("agent", Agent(chat_generator=_build_generator(url), tools=[get_height]))
    answer = agents.run({"agent": {"messages": [ChatMessage.from_user("How high is Huascarán, agent?")]}})
    assert "6768" in answer["agent"]["messages"][-1].text


def _build_generator(url: str, **options: object) -> OpenAIChatGenerator:
    return OpenAIChatGenerator(
        api_key=Secret.from_token("x"), model="gpt-4o", api_base_url=f"{url}/v1", max_retries=0, **options,
        generation_kwargs={"stream_options": {"include_usage": True}} if options else {},
    )  # fmt: skip
