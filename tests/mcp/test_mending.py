"""An agent with nothing but the tools mends the demo's second prompt: it names the line and proves it."""

from __future__ import annotations

from pathlib import Path

from llm_trace.demo import scenes, world
from tests.helpers.cli_toys import ROOT
from tests.helpers.mcp_agent import ScriptedAgent
from tests.helpers.mcp_toys import Door


def test_the_example_line_is_named_and_proven_in_ten_calls_of_tools(path: Path) -> None:
    scenes.answer_customers(path, 60)
    door = Door(path, functions=["llm_trace.demo.desk:handle"], folder=str(ROOT))
    mending = ScriptedAgent(door.call).mend("refund-desk v1", "refund-desk v2")
    assert (mending.line, mending.stands_out) == (world.EXAMPLE, True)
    assert " Right: 0 of 7 then, 7 of 7 now; 7 mended, 0 broken (" in mending.proof
    assert " Right: 0 of 7 then, 0 of 7 now; 0 mended, 0 broken (" in mending.chance
    assert len(mending.verdicts) <= 10
