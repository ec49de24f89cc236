"""Which LLM libraries are installed, and what `instrument` would do with each."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from llm_trace.instrumentation.api import group_rides, load_integrations
from llm_trace.instrumentation.integration import Integration
from llm_trace.instrumentation.rides import Ride, describe_trial, find_version

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet


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
            libraries[name] = f"{version}: {_describe_rides(rides, version)}"
    return dict(sorted(libraries.items()))


def _describe_integration(integration: Integration, version: str) -> str:
    from packaging.specifiers import SpecifierSet

    if version not in SpecifierSet(integration.versions, prereleases=True):
        return f"not supported, which needs {integration.versions}"
    return f"instrumented by llm_trace (tried with {integration.tried})"


def _describe_rides(rides: tuple[Ride, ...], library_version: str) -> str:
    for ride in rides:
        if (version := find_version(ride.instrumentation)) is None:
            continue
        if (supported := _find_supported(ride)) and library_version not in supported:
            return (
                f"not instrumented: {ride.instrumentation} {version} needs {ride.distribution}{supported} "
                f"(tried: {describe_trial(ride)})"
            )
        return f"instrumented by {ride.instrumentation} {version} (tried: {describe_trial(ride)})"
    return f"not instrumented: pip install {rides[0].instrumentation} (tried: {describe_trial(rides[0])})"


def _find_supported(ride: Ride) -> SpecifierSet | None:
    """Return which versions of a library its installed instrumentation supports, as its metadata says."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    for line in metadata.requires(ride.instrumentation) or ():
        requirement = Requirement(line)
        optional = requirement.marker is not None and requirement.marker.evaluate({"extra": "instruments"})
        if optional and canonicalize_name(requirement.name) == canonicalize_name(ride.distribution):
            requirement.specifier.prereleases = True
            return requirement.specifier
    return None
