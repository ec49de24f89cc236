"""AutoGen: an assistant with a tool, whole and streamed, and a team."""

import asyncio

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_ext.models.openai import OpenAIChatCompletionClient


async def get_height(mountain: str) -> str:
    """Return the height of a mountain."""
    return "6768 metres"


def run(url: str) -> None:
    """Ask an assistant twice, then a team."""
    asyncio.run(_run(url))


async def _run(url: str) -> None:
    model = OpenAIChatCompletionClient(
        model="gpt-4o", api_key="x", base_url=f"{url}/v1", max_retries=0, include_name_in_message=False
    )
    guide = AssistantAgent("guide", model, tools=[get_height], reflect_on_tool_use=True)
    assert "6768" in str((await guide.run(task="How high is Huascarán?")).messages[-1])
    streaming = AssistantAgent(
        "streaming", model, tools=[get_height], reflect_on_tool_use=True, model_client_stream=True
    )
    events = [event async for event in streaming.run_stream(task="How high is Huascarán, streamed?")]
    assert "6768" in str(events[-1])
    team = RoundRobinGroupChat([AssistantAgent("one", model)], termination_condition=MaxMessageTermination(2))
    assert "6768" in str((await team.run(task="How high is Huascarán, team?")).messages[-1])
    await model.close()
