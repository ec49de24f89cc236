"""Costs of recorded exchanges by provider, beside genai-prices' own reading of the raw payloads.

python benchmarks/costs.py
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.pricing.test_exchanges import list_costs
from tests.rig.exchanges import read_exchanges


def main() -> None:
    exchanges, counts = read_exchanges(), Counter[tuple[str, str]]()
    for identity, (expected, cost) in list_costs().items():
        counts[exchanges[identity].provider, "equal" if expected == cost else "not equal"] += 1
    print(f"{'provider':16}{'equal':>8}{'not equal':>12}")
    for provider in sorted({provider for provider, _ in counts}):
        print(f"{provider:16}{counts[provider, 'equal']:8}{counts[provider, 'not equal']:12}")
    print(f"of {len(exchanges)} exchanges; the others failed, have no counts, or no price")


if __name__ == "__main__":
    main()
