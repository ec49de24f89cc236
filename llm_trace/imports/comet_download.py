"""Prompts and chains that a Comet project holds, as the records that `llm_trace.imports.comet` reads.

comet_ml's API fetches them, in a process of its own, for importing comet_ml changes the process that does it.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from llm_trace.errors import ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path

_FETCH = """
import json, sys
import comet_ml
workspace, project, out = sys.argv[1:4]
with open(out, "w", encoding="utf-8") as file:
    for experiment in comet_ml.API(cache=False).get_experiments(workspace, project):
        for listed in experiment.get_asset_list():
            if listed["fileName"] != "comet_llm_data.json":
                continue
            asset = experiment.get_asset(listed["assetId"], return_type="json")
            single = asset["category"] == "single_prompt"
            message = {
                "id": experiment.key, "experiment_info_": {"workspace": workspace, "project_name": project},
                "prompt_asset_data" if single else "chain_data": asset,
                "duration": asset.get("chain_duration"),
                "metadata": asset.get("metadata"), "tags": experiment.get_tags(),
                "others": {"Name": experiment.get_name()}, "VERSION": 2,
            }
            record = {"type": "PromptMessage" if single else "ChainMessage", "message": message}
            file.write(json.dumps(record) + "\\n")
"""


def download(address: str, folder: Path) -> Path:
    """Write the prompts and chains of `comet://workspace/project` as JSON Lines and return the path.

    Raises:
        MissingExtraError: comet_ml is not installed.
        ConfigurationError: the address is incomplete, or Comet refuses; the message says how.
    """
    parts = urlsplit(address)
    workspace, project = unquote(parts.netloc), unquote(parts.path.strip("/"))
    if not workspace or not project:
        raise ConfigurationError(f"{address!r} must name both: comet://workspace/project")
    if importlib.util.find_spec("comet_ml") is None:
        raise MissingExtraError("'comet_ml' is not installed: pip install 'llm-trace[comet]'")
    out = folder / re.sub(r"[^\w.-]", "_", f"comet-{workspace}-{project}.jsonl")
    command = [sys.executable, "-c", _FETCH, workspace, project, str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        complaint = done.stderr.strip().splitlines() or ["no message"]
        raise ConfigurationError(
            f"Comet does not give {workspace}/{project}: {complaint[-1]}; check COMET_API_KEY, "
            "COMET_WORKSPACE and COMET_URL_OVERRIDE"
        )
    return out
