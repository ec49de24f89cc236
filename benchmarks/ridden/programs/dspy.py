"""DSPy: a prediction and a chain of thought through its own engine, and a model asked through LiteLLM."""

import dspy


def run(url: str) -> None:
    """Predict, think, and ask."""
    options = {"api_key": "x", "api_base": f"{url}/v1", "cache": False, "num_retries": 0}
    lm = dspy.LM("openai/gpt-4o", **options)
    with dspy.context(lm=lm):
        assert "6768" in dspy.Predict("question -> answer")(question="How high is Huascarán?").answer
        assert "6768" in dspy.ChainOfThought("question -> answer")(question="How high is it?").answer
    plain = dspy.LM("openai/gpt-4o", engine="litellm", **options)
    assert "6768" in plain("How high is Huascarán, plainly?")[0]
