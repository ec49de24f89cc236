"""DSPy: a prediction, a chain of thought, and a ReAct agent with a tool."""

import dspy


def get_height(mountain: str) -> str:
    """Return the height of a mountain."""
    return "6768 metres"


def run(url: str) -> None:
    """Predict, think, and act."""
    lm = dspy.LM("openai/gpt-4o", api_key="x", api_base=f"{url}/v1", cache=False, num_retries=0)
    with dspy.context(lm=lm):
        assert "6768" in dspy.Predict("question -> answer")(question="How high is Huascarán?").answer
        assert "6768" in dspy.ChainOfThought("question -> answer")(question="How high is it?").answer
        assert "6768" in lm("How high is Huascarán, plainly?")[0]
