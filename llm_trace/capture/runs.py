"""Runs: one execution of an experiment, with what it ran on."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from llm_trace.capture import failures, slots
from llm_trace.capture.context import RUN_KEY, attach_values
from llm_trace.capture.ids import make_id
from llm_trace.capture.labels import to_mapping, to_tags

if TYPE_CHECKING:
    from importlib.metadata import Distribution

    from llm_trace.capture.protocols import CallRecorder
    from llm_trace.record import Run

_FIELD = re.compile(r"^(Name|Version):[ \t]*(\S+)", re.MULTILINE)


def read_environment() -> dict[str, Any]:
    """Return Python, platform, packages and git state, as `record.Environment` takes them."""
    environment: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": _list_packages(),
    }
    commit = _read_git("rev-parse", "HEAD")
    if commit is not None:
        environment |= {
            "git_commit": commit,
            "git_dirty": bool(_read_git("status", "--porcelain", "--untracked-files=no")),
        }
    return environment


@functools.cache
def _list_packages() -> dict[str, str]:
    """Return the versions of the installed packages, by name.

    `Distribution.metadata` parses the description of each too, which takes four times as long.
    """
    from importlib import metadata

    fields = [dict(_FIELD.findall(_read_head(each))) for each in metadata.distributions()]
    return dict(sorted((f["Name"], f["Version"]) for f in fields if f.keys() >= {"Name", "Version"}))


def _read_head(distribution: Distribution) -> str:
    """Return the fields of a package's metadata, without the description below them."""
    texts = (distribution.read_text(file) for file in ("METADATA", "PKG-INFO", ""))
    return next(filter(None, texts), "").partition("\n\n")[0]


def _read_git(*arguments: str) -> str | None:
    import subprocess

    where = os.path.dirname(os.path.abspath(getattr(sys.modules.get("__main__"), "__file__", None) or "x"))
    try:
        done = subprocess.run(
            ["git", "-C", where, *arguments], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def begin_run(recorder: CallRecorder, name: str, *, record_env: bool, **fields: Any) -> dict[str, Any]:
    """Write that a run begins and return its event."""
    event: dict[str, Any] = {
        "event": "run",
        "id": make_id(),
        "name": name,
        "start_ns": time.time_ns(),
        **fields,
    }
    if record_env:
        event["environment"] = read_environment()
        seed = (fields.get("config") or {}).get("seed")
        if isinstance(seed, int):
            event["environment"]["seed"] = seed
    recorder.event(event)
    return event


def start_run(
    name: str, config: Mapping[str, Any] | None = None, tags: str | Iterable[str] | None = ()
) -> contextlib.AbstractContextManager[Run]:
    """Begin a run; every call inside the block belongs to it, in whatever thread or task it runs.

    Calls in threads without this context belong to the run too, while it is the only one open.

    Args:
        name: name of the experiment or prompt iteration; runs may share it.
        config: parameters of the run, a mapping or an object such as `argparse.Namespace`, kept as JSON;
            `seed` is kept in its environment as well.
        tags: labels.

    Raises:
        TypeError: the name is missing, the configuration has no names, or tags are no list of texts.
    """
    if name is None:
        raise TypeError("start_run needs a name, such as start_run('prompt v2')")
    return _run(str(name), {"config": to_mapping("config", config), "tags": list(to_tags(tags))})


@contextlib.contextmanager
def _run(name: str, fields: dict[str, Any]) -> Iterator[Run]:
    from llm_trace.record import Run

    recorder = slots.recorder or slots.start_recorder()
    if recorder is None:
        yield Run(id="0" * 16, name=name, start_ns=time.time_ns(), **fields)
        return
    event = begin_run(recorder, name, record_env=recorder.record_env, **fields)
    with attach_values(**{RUN_KEY: event["id"]}), recorder.default_run(event["id"]):
        try:
            yield Run.model_validate({k: v for k, v in event.items() if k != "event"})
        finally:
            end_run(recorder, event["id"])


@contextlib.contextmanager
def continue_run(recorder: CallRecorder, run: Run) -> Iterator[Run]:
    """Let every call inside the block belong to a run that has begun before, and end it then."""
    with attach_values(**{RUN_KEY: run.id}), recorder.default_run(run.id):
        try:
            yield run
        finally:
            end_run(recorder, run.id)


def end_run(recorder: CallRecorder, run: str) -> None:
    """Write that a run has ended."""
    try:
        recorder.event({"event": "run", "id": run, "end_ns": time.time_ns()})
    except Exception as exc:
        failures.note("the end of a run", exc)
