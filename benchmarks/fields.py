"""Print, field by field, how many recorded exchanges an instrumentation gets right.

    python -m benchmarks.fields openai openinference:openai genai:openai decorator
    python -m benchmarks.fields anthropic own:anthropic --awaited --faults

Each exchange of the provider goes through its real client to a server on 127.0.0.1 that answers as recorded;
the stored call is compared with the raw payloads. `12` = right in 12 exchanges; `2 wrong` and `3 missing` are
faults of llm_trace's, for which the exit code is 1; `4 not sent` is what a ridden instrumentation leaves
out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from tests.rig.drivers import Way
from tests.rig.exchanges import PROVIDERS, Exchange, read_exchanges
from tests.rig.instrumentations import NAMES, find_instrumentation, list_providers
from tests.rig.judge import FIELDS, list_faults
from tests.rig.measure import Measurement, measure
from tests.rig.oracle import is_call

Counts = dict[str, Counter[str]]
"""How often each verdict was given, by field."""


def main() -> int:
    """Print one table a provider; return the exit code."""
    options = _parse_arguments()
    warnings.simplefilter("ignore")
    faults = 0
    for provider in options.providers:
        exchanges = [x for x in read_exchanges().values() if x.provider == provider and is_call(x)]
        columns: dict[str, Counts] = {}
        for name in options.instrumentations:
            if provider not in list_providers(name):
                continue
            faults += _measure_one(name, exchanges, columns, options)
        if columns:
            Console(width=220).print(_build_table(f"{provider}: {len(exchanges)} exchanges", columns))
    return 1 if faults else 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help=f"of providers: {', '.join(PROVIDERS)};\nand of {', '.join(NAMES)}",
    )
    parser.add_argument("--awaited", action="store_true", help="ask through asynchronous clients")
    parser.add_argument("--through", choices=("client", "litellm", "langchain"), default="client")
    parser.add_argument("--faults", action="store_true", help="print each fault with what is true")
    options = parser.parse_args()
    options.providers = [name for name in options.names if name in PROVIDERS]
    options.instrumentations = [name for name in options.names if name not in PROVIDERS]
    return options


def _measure_one(
    name: str, exchanges: list[Exchange], columns: dict[str, Counts], options: argparse.Namespace
) -> int:
    """Measure one instrumentation, add its column and return how many faults it has."""
    way: Way = options.through
    instrumentation = find_instrumentation(name)
    with tempfile.TemporaryDirectory() as folder:
        try:
            measurement = measure(
                exchanges, [instrumentation], Path(folder) / "traces.duckdb",
                asynchronous=options.awaited, way=way, decorated=name == "decorator",
            )  # fmt: skip
        except pytest.skip.Exception as exc:
            print(f"{name}: {exc}", file=sys.stderr)
            return 0
    return _count(name, measurement, columns, rides=instrumentation.rides, show=options.faults)


def _count(
    name: str, measurement: Measurement, columns: dict[str, Counts], *, rides: bool, show: bool
) -> int:
    counts: Counts = defaultdict(Counter)
    faults = 0
    for exchange, results in measurement.judge(rides=rides).items():
        for result in results:
            counts[result.field][result.verdict] += 1
        lines = list_faults(results)
        faults += len(lines)
        for line in lines if show else ():
            print(f"{name} {exchange} {line}")
    for exchange, error in measurement.unexpected.items():
        print(f"{name} {exchange} was not asked for: {error}", file=sys.stderr)
    if measurement.left_out:
        print(f"{name}: no method for {', '.join(measurement.left_out)}", file=sys.stderr)
    columns[name] = counts
    return faults


def _build_table(title: str, columns: dict[str, Counts]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("field")
    for name in columns:
        table.add_column(name, justify="right")
    for field in FIELDS:
        cells = [_describe(counts[field]) for counts in columns.values()]
        if any(cells):
            table.add_row(field, *cells)
    return table


def _describe(verdicts: Counter[str]) -> str:
    words = [f"{verdicts[word]} {word}" for word in ("wrong", "missing", "not sent") if verdicts[word]]
    return ", ".join([str(verdicts["ok"]), *words]) if verdicts else ""


if __name__ == "__main__":
    sys.exit(main())
