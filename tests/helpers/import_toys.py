"""Files to import, and importing them as a user does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.conftest import Recorded
from tests.helpers.cli_toys import invoke


def bring(store: Recorded, *files: Path, options: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Import files; return the reports."""
    result = invoke(store.path, "import", *map(str, files), *options, "--json")
    assert result.exit_code == 0, result.stderr
    reports: list[dict[str, Any]] = json.loads(result.stdout)
    return reports


def write(path: Path, *records: Any) -> Path:
    """Write records as JSON Lines; return the path."""
    path.write_text("".join(json.dumps(entry) + "\n" for entry in records), encoding="utf-8")
    return path
