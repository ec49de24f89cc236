"""How many planted faults of the embedded model mutants from attribution kill, against random ones.

A fault is a way in which the desk reads a message wrongly; it counts where the message itself is answered
right all the same, so that only a mutant can tell. Random mutants lack as many single words, and are told for
free what the right model answers to them; mutants from attribution that the right model fails do not count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from random import Random
from statistics import mean
from typing import get_args

from llm_trace.attribution.api import attribute
from llm_trace.demo.model import answer, load_model
from llm_trace.demo.world import TEMPLATE_V1, VERDICTS, CaseKind, delete_words, find_words, make_cases
from llm_trace.errors import ConfigurationError
from llm_trace.evaluation.mutants import make_mutants

Desk = Callable[[str], str]
Mutants = Sequence[tuple[str, bool]]
"""Messages, and whether the answer must become another one."""


@cache
def ask(message: str) -> str:
    return answer(TEMPLATE_V1.format(message=message)).strip()


def misread(pattern: str, instead: str) -> Desk:
    return lambda message: ask(re.sub(pattern, instead, message))


def assume(sentence: str, unless: str = "$^") -> Desk:
    return lambda message: ask(message if re.search(unless, message) else f"{message} {sentence}")


FAULTS: dict[str, Desk] = {
    **{f"every number is {n}": misread(r"\b\d+\b", str(n)) for n in (20, 45, 90)},
    **{f"no number is {n}": assume(f"I bought it {n} days ago.", r"\d") for n in (20, 90)},
    "nobody is gold": misread(r"\b(gold|VIP)\b", "loyal"),
    "everybody is gold": assume("I am a gold member."),
    "there are no receipts": misread(r"\breceipt\b", "paper"),
    "unopened suffices": assume("I have the receipt."),
    "a receipt suffices": assume("It is unopened."),
    "all is sealed": assume("It is unopened and I have the receipt."),
    **{f"always {verdict}": lambda message, verdict=verdict: verdict for verdict in VERDICTS},
}  # fmt: skip


def list_messages(count: int) -> Iterator[str]:
    for kind in get_args(CaseKind):
        for case in make_cases(kind, count, 7) if kind != "example" else ():
            yield case.prompt.partition("Customer: ")[2].removesuffix("\n\nAnswer:")


def count_killed(message: str, mutants: Mutants) -> tuple[int, int]:
    """Return how many faults mutants kill, and how many there are."""
    right = ask(message)
    hidden = [fault for fault in FAULTS.values() if fault(message) == right]
    killed = [any((fault(text) != right) != flips for text, flips in mutants) for fault in hidden]
    return sum(killed), len(hidden)


def lack_words(message: str, spans: Sequence[tuple[int, int]]) -> Mutants:
    texts = [delete_words(message, [span]) for span in spans]
    return [(text, ask(text) != ask(message)) for text in texts]


def measure_mutants(cases: int) -> None:
    """Print how many faults are killed by mutants from attribution, by as many random ones, and by all."""
    model, tokenizer = load_model()
    print(f"\nMutants of {4 * cases} messages: planted faults that they kill")
    for most in (6,):
        killed = {"attribution": 0, "random": 0, "every word once": 0}
        faults, invalid, made, passes, skipped = 0, 0, 0, [], 0
        for number, message in enumerate(list_messages(cases)):
            right = ask(message)
            prompt = TEMPLATE_V1.format(message=message)
            attribution = attribute(prompt, f" {right}", model=model, tokenizer=tokenizer)
            passes.append(attribution.passes)
            try:
                mutants = [(m.input["message"], m.flips) for m in make_mutants(
                    attribution, {"message": message}, most=most)]  # fmt: skip
            except ConfigurationError:
                mutants, skipped = [], skipped + 1
            valid = [(text, flips) for text, flips in mutants if (ask(text) != right) == flips]
            made, invalid = made + len(mutants), invalid + len(mutants) - len(valid)
            spans = find_words(message)
            chosen = Random(number).sample(spans, min(len(mutants), len(spans)))
            tests = (valid, lack_words(message, chosen), lack_words(message, spans))
            for name, test in zip(killed, tests, strict=True):
                killed[name] += count_killed(message, test)[0]
            faults += count_killed(message, ())[1]
        print(
            f"at most {most}: {made} mutants, {killed} of {faults} faults; {invalid} that the right model "
            f"fails, {skipped} messages without any, {mean(passes):.0f} passes for an attribution"
        )
