"""Runs one program in the environment of its library and writes what was recorded: `python -m
benchmarks.ridden.child LIBRARY FOLDER before|after`.

`before`: `instrument` comes before the library is imported. `after`: it comes when the program has run once;
then every library is instrumented, then none.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import socket
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import llm_trace
from benchmarks.ridden.table import PROGRAMS, list_requirements


def main() -> None:
    """Run the program as asked and write `result.json` into the folder."""
    library, folder, when = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    _stay_on_loopback()
    logging.basicConfig(level=logging.ERROR)
    result = _run_before(library, folder) if when == "before" else _run_after(library, folder)
    (folder / "result.json").write_text(json.dumps(result))


def _run_before(library: str, folder: Path) -> dict[str, Any]:
    llm_trace.configure(folder / "traces.duckdb")
    with llm_trace.instrument(library) as undo:
        run_program(library)
        state = undo.libraries[library]
    llm_trace.shutdown()
    versions = [metadata.version(name.partition("[")[0]) for name in list_requirements(library)]
    return {"state": state, "versions": versions, "calls": _read_calls(folder / "traces.duckdb")}


def _run_after(library: str, folder: Path) -> dict[str, Any]:
    run_program(library)
    before = _list_objects(library)
    results: dict[str, Any] = {}
    for step, names in (("alone", (library,)), ("all", ()), ("undone", None)):
        store = folder / f"{step}.duckdb"
        llm_trace.configure(store)
        mark = _ask_server()
        if names is None:
            run_program(library)
        else:
            with llm_trace.instrument(*names):
                run_program(library)
        llm_trace.shutdown()
        results[step] = {"calls": _read_calls(store), "answered": (mark, _ask_server())}
    after = _list_objects(library)
    results["changed"] = sorted(name for name in before if before[name] is not after.get(name))
    return results


def run_program(library: str) -> None:
    """Import the program of a library and run it."""
    module = importlib.import_module(f"benchmarks.ridden.programs.{library.replace('-', '_')}")
    module.run(os.environ["RIDDEN_URL"])


def _ask_server() -> int:
    """Return how many requests the server has answered."""
    import httpx

    return int(httpx.get(os.environ["RIDDEN_URL"] + "/count", trust_env=False).json())


def _read_calls(path: Path) -> list[dict[str, Any]]:
    try:
        with llm_trace.open_store(path) as store:
            return [call.model_dump(mode="json") for call in store.calls(limit=10_000)]
    except llm_trace.errors.StoreNotFoundError:
        return []


def _list_objects(library: str) -> dict[str, object]:
    """Return the functions, and classes with their members, of a library's modules, by where they are."""
    objects: dict[str, object] = {}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in PROGRAMS[library].packages and isinstance(module, ModuleType):
            for key, value in list(vars(module).items()):
                if callable(value):
                    objects[f"{name}.{key}"] = value
                if isinstance(value, type):
                    members = {
                        inner: getattr(member, "__func__", member)
                        for inner, member in list(vars(value).items())
                    }
                    objects |= {f"{name}.{key}.{inner}": m for inner, m in members.items() if callable(m)}
    return objects


def _stay_on_loopback() -> None:
    """Refuse every connection that leaves the machine."""
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def connect_locally(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1"):
            raise ConnectionRefusedError(f"{address[0]} is not loopback")
        connect(self, address)

    def look_up_locally(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in ("127.0.0.1", "localhost", "::1", None):
            raise socket.gaierror(f"{host} is not loopback")
        return look_up(host, *args, **kwargs)

    socket.socket.connect, socket.getaddrinfo = connect_locally, look_up_locally  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
