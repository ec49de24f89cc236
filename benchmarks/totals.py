"""Print for which combinations of instrumentations the store counts what the provider counted.

    python -m benchmarks.totals openai anthropic
    python -m benchmarks.totals openai --each 3 --faults

A row is a way to ask (client, LiteLLM, LangChain; awaited or not) and what was on at once; a number is how
many recorded exchanges of that kind became one model call each with the provider's tokens and the cost that
genai-prices gives for the provider's payload, of how many. The exit code is 1 where one did not.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from tests.rig.drivers import Way
from tests.rig.exchanges import Exchange, pick_each_kind, read_exchanges
from tests.rig.instrumentations import find_instrumentation
from tests.rig.measure import Measurement, measure
from tests.rig.oracle import is_conversation, read_facts

_WAYS: dict[Way, tuple[str, ...]] = {
    "client": (),
    "litellm": ("openinference:litellm", "own:litellm"),
    "langchain": ("openinference:langchain", "own:langchain"),
}
"""What may watch each framework."""


def main() -> int:
    """Print one table a provider; return the exit code."""
    options = _parse_arguments()
    warnings.simplefilter("ignore")
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the network for prices
    faults = 0
    for provider in options.providers:
        table = Table("asked through", "on at once", "whole", "streams", title=provider, title_justify="left")
        for way, asynchronous, decorated, names in _list_combinations(provider, options.ways):
            cells = []
            for streams in (False, True):
                exchanges = _choose_exchanges(provider, way, streams=streams, each=options.each)
                wrong, asked = _count_wrong(exchanges, names, way, asynchronous, decorated, options.faults)
                faults += wrong
                cells.append(f"{asked - wrong} of {asked}" if asked else "")
            on = [*(["decorator"] if decorated else []), *names]
            table.add_row(f"{way}{', awaited' if asynchronous else ''}", " + ".join(on), *cells)
            if options.faults:
                print(way, asynchronous, on, cells, flush=True)
        Console(width=160).print(table)
    return 1 if faults else 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("providers", nargs="+", choices=("openai", "anthropic"))
    parser.add_argument("--through", dest="ways", nargs="+", choices=tuple(_WAYS), default=tuple(_WAYS))
    parser.add_argument("--each", type=int, default=1, help="exchanges of each kind")
    parser.add_argument("--faults", action="store_true", help="print each exchange that was counted wrongly")
    return parser.parse_args()


def _list_combinations(
    provider: str, ways: tuple[Way, ...]
) -> Iterator[tuple[Way, bool, bool, tuple[str, ...]]]:
    """Yield ways to ask with everything that may be on, the decorator first."""
    sdks = [(), (f"openinference:{provider}",), (f"genai:{provider}",)]
    for way, asynchronous in itertools.product(ways, (False, True)):
        frameworks = [(), *((name,) for name in _WAYS[way])]
        for decorated, framework, sdk, own in itertools.product(
            (False, True), frameworks, sdks, ((), (f"own:{provider}",))
        ):
            if decorated or framework or (way != "litellm" and (sdk or own)):  # LiteLLM uses no SDK
                yield way, asynchronous, decorated, (*framework, *sdk, *own)


def _choose_exchanges(provider: str, way: Way, *, streams: bool, each: int) -> list[Exchange]:
    """Return exchanges of each kind; through LiteLLM those with counts: it makes up what is not told."""
    every = [x for x in read_exchanges().values() if x.provider == provider and is_conversation(x)]
    if way == "litellm":
        every = [x for x in every if read_facts(x).usage]
    return pick_each_kind([x for x in every if not x.failed and x.streams == streams], each)


def _count_wrong(
    exchanges: list[Exchange],
    names: tuple[str, ...],
    way: Way,
    asynchronous: bool,
    decorated: bool,
    show: bool,
) -> tuple[int, int]:
    """Return how many exchanges were counted otherwise than by the provider, of how many."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            measurement: Measurement = measure(
                exchanges, [find_instrumentation(name) for name in names], Path(folder) / "traces.duckdb",
                asynchronous=asynchronous, way=way, decorated=decorated,
            )  # fmt: skip
        except pytest.skip.Exception as exc:
            print(exc, file=sys.stderr)
            return 0, 0
    wrong = measurement.list_miscounted()
    for exchange, line in wrong.items() if show else ():
        print(way, "awaited" if asynchronous else "", decorated, names, exchange, line)
    return len(wrong), len(measurement.asked)


if __name__ == "__main__":
    sys.exit(main())
