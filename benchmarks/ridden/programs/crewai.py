"""CrewAI: a crew of one with a tool, and a model that is asked directly."""

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool


@tool("get_height")
def get_height(mountain: str) -> str:
    """Return the height of a mountain."""
    return "6768 metres"


def run(url: str) -> None:
    """Run a crew, then ask its model."""
    llm = LLM(model="openai/gpt-4o", base_url=f"{url}/v1", api_key="x")
    guide = Agent(role="guide", goal="answer", backstory="knows mountains", tools=[get_height], llm=llm)
    task = Task(description="How high is Huascarán?", expected_output="a height", agent=guide)
    assert "6768" in Crew(agents=[guide], tasks=[task]).kickoff().raw
    assert "6768" in llm.call("How high is Huascarán, directly?")
