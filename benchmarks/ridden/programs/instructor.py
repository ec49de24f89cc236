"""instructor: an answer as a model of Pydantic, by a tool of the OpenAI client, whole and streamed."""

import instructor
import openai
from pydantic import BaseModel


class Height(BaseModel):
    """Height of a mountain."""

    mountain: str
    metres: int


def run(url: str) -> None:
    """Ask for a height twice."""
    client = instructor.from_openai(openai.OpenAI(api_key="x", base_url=f"{url}/v1", max_retries=0))
    question = [{"role": "user", "content": "How high is Huascarán?"}]
    height = client.create(model="gpt-4o", response_model=Height, messages=question)
    assert (height.mountain, height.metres) == ("Huascarán", 6768)
    chunks = list(client.create_partial(model="gpt-4o", response_model=Height, messages=question))
    assert chunks[-1].metres == 6768
