"""Entry points are looked up once, and again when a package has come or gone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from llm_trace import plugin_points
from llm_trace.plugin_points import list_entry_points


def test_a_package_that_comes_or_goes_later_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    os.utime(tmp_path, ns=(1, 1))
    assert list_entry_points("llm_trace.none") == ()
    folder = tmp_path / "toy-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[llm_trace.none]\ntoy = toy:make\n")
    assert [(point.name, point.value) for point in list_entry_points("llm_trace.none")] == [
        ("toy", "toy:make")
    ]
    shutil.rmtree(folder)
    os.utime(tmp_path, ns=(2, 2))
    assert list_entry_points("llm_trace.none") == ()


def test_what_did_not_change_is_not_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = list_entry_points("llm_trace.integrations")
    monkeypatch.setattr(plugin_points, "entry_points", None)
    assert list_entry_points("llm_trace.integrations") is first
