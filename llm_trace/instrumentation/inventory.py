"""Which LLM libraries are installed, and what `instrument` would do with each."""

from __future__ import annotations

from llm_trace.instrumentation.api import group_rides, load_integrations
from llm_trace.instrumentation.integration import Integration
from llm_trace.instrumentation.rides import Ride, find_version


def list_libraries() -> dict[str, str]:
    """Return a sentence for each known library that is installed: its version, and what instruments it or is
    missing.
    """
    libraries: dict[str, str] = {}
    for name, integration in load_integrations().items():
        if (version := find_version(integration.distribution)) is not None:
            libraries[name] = f"{version}: {_describe_integration(integration, version)}"
    for name, rides in group_rides().items():
        version = find_version(rides[0].distribution)
        if version is not None and name not in libraries:
            libraries[name] = f"{version}: {_describe_rides(rides)}"
    return dict(sorted(libraries.items()))


def _describe_integration(integration: Integration, version: str) -> str:
    from packaging.specifiers import SpecifierSet

    if version not in SpecifierSet(integration.versions, prereleases=True):
        return f"not supported, which needs {integration.versions}"
    return f"instrumented by llm_trace (tried with {integration.tried})"


def _describe_rides(rides: tuple[Ride, ...]) -> str:
    for ride in rides:
        if (version := find_version(ride.instrumentation)) is not None:
            tried = f" (tried with {ride.tried})" if ride.tried else " (never tried)"
            return f"instrumented by {ride.instrumentation} {version}{tried}"
    return f"not instrumented: pip install {rides[0].instrumentation}"
