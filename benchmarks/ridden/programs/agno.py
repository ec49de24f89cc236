"""Agno: an agent with a tool, whole and streamed."""

from agno.agent import Agent
from agno.models.openai import OpenAIChat


def get_height(mountain: str) -> str:
    """Return the height of a mountain."""
    return "6768 metres"


def run(url: str) -> None:
    """Ask an agent twice."""
    model = OpenAIChat(id="gpt-4o", api_key="x", base_url=f"{url}/v1")
    agent = Agent(name="guide", model=model, tools=[get_height], telemetry=False)
    assert "6768" in agent.run("How high is Huascarán?").content
    chunks = list(agent.run("How high is Huascarán, streamed?", stream=True))
    assert "6768" in "".join(str(chunk.content or "") for chunk in chunks)
