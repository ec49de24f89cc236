"""OpenAI Agents: an agent with a tool, whole and streamed, through the Responses API."""

import asyncio

import agents
import openai


@agents.function_tool
def get_height(mountain: str) -> str:
    """Return the height of a mountain."""
    return "6768 metres"


def run(url: str) -> None:
    """Ask an agent twice."""
    asyncio.run(_run(url))


async def _run(url: str) -> None:
    client = openai.AsyncOpenAI(api_key="x", base_url=f"{url}/v1", max_retries=0)
    model = agents.OpenAIResponsesModel(model="gpt-4o", openai_client=client)
    guide = agents.Agent(name="guide", model=model, tools=[get_height])
    assert "6768" in (await agents.Runner.run(guide, "How high is Huascarán?")).final_output
    streamed = agents.Runner.run_streamed(guide, "How high is Huascarán, streamed?")
    async for _ in streamed.stream_events():
        pass
    assert "6768" in streamed.final_output
    await client.close()
