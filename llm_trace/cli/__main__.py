"""`python -m llm_trace.cli`: the command line by a Python, where its script is not on the path."""

from llm_trace.cli import main

main()
