"""docs/instrument.md and integrations/README.md say what is so."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.instrumentation import api
from llm_trace.instrumentation.rides import RIDES
from llm_trace.record import Usage
from tests.conftest import Recorded
from tests.instrumentation import made_up

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_names_every_library_that_is_known() -> None:
    page = (ROOT / "docs" / "instrument.md").read_text()
    section = page[page.index("## Which libraries") : page.index("## One request")]
    named = {name for name in re.findall("`([a-z-]+)`", section) if name != "doctor"}
    assert named == {*api.load_integrations(), *api.group_rides()}


def test_the_page_says_with_which_versions_each_ridden_library_was_tried() -> None:
    page = (ROOT / "docs" / "instrument.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{ride.library}` | {ride.distribution} {library} | {ride.instrumentation} {version} | {date} | "
        f"{ride.lacks or 'nothing'} | {', '.join(ride.clients)} |"
        for ride in sorted(RIDES, key=lambda ride: ride.library)
        for version, library, date in [ride.tried]
    ]


def test_the_integration_of_the_readme_works(store: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall("```python\n(.*?)```", (ROOT / "integrations" / "README.md").read_text(), re.DOTALL)
    assert len(code.splitlines()) <= 45
    provider = types.ModuleType("made_up")
    provider.say, provider.Client = made_up.say, type("Client", (), {"stream": made_up.Client.stream})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "made_up", provider)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    monkeypatch.setattr(api, "load_integrations", lambda: {"made-up": names["INTEGRATION"]})
    monkeypatch.setattr(api, "find_version", lambda _: "1.0")
    with llm_trace.instrument("made-up"):
        provider.say("hi")
        assert list(provider.Client().stream("hi")) == ["H", "I"]
    streamed, said = store.calls()
    assert (said.provider, said.usage) == ("made-up", Usage(input_tokens=1, output_tokens=2))
    assert streamed.output == "HI"
