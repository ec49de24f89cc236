"""smolagents: an agent that calls a tool, whole and streamed."""

from smolagents import OpenAIModel, Tool, ToolCallingAgent


class Height(Tool):
    """Knows heights."""

    name = "get_height"
    description = "Return the height of a mountain."
    inputs = {"mountain": {"type": "string", "description": "its name"}}  # noqa: RUF012
    output_type = "string"

    def forward(self, mountain: str) -> str:
        """Return the height of a mountain."""
        return "6768 metres"


def run(url: str) -> None:
    """Ask an agent twice."""
    model = OpenAIModel("gpt-4o", api_base=f"{url}/v1", api_key="x", client_kwargs={"max_retries": 0})
    agent = ToolCallingAgent(tools=[Height()], model=model, verbosity_level=0)
    assert agent.run("How high is Huascarán?")
    streaming = ToolCallingAgent(tools=[Height()], model=model, stream_outputs=True, verbosity_level=0)
    assert list(streaming.run("How high is Huascarán, streamed?", stream=True))
