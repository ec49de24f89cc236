"""Is the retrieved chunk that a model used the first one?

    python benchmarks/attribution_chunks.py [--cases 40] [--stories FOLDER]

Truth is known by construction. The embedded model: sentences of planted prompts (`llm_trace.demo.world`) are
the chunks, and those with the planted words are the ones used (of two that each suffice also the one with the
days, without which they decide nothing); only prompts that the model answers by its rule count. A model of
children's stories (`--stories`, a folder for `from_pretrained`): every chunk names somebody, and the answer
is one of the names. Beside it stands a retriever that counts shared words.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from llm_trace.attribution.api import attribute
from llm_trace.attribution.question.segmenters import split_sentences
from llm_trace.demo.model import answer
from llm_trace.demo.world import CaseKind, make_cases
from llm_trace.record import Attribution, Document

KINDS: tuple[CaseKind, ...] = ("single", "distractors", "conjunction", "redundant")
QUESTION = "Can I have a refund for what I bought, how many days ago?"
NAMES = ["Tom", "Lily", "Ben", "Mia", "Sam", "Sue"]
THINGS = ["ball", "dog", "cake", "car", "hat", "tree"]


@dataclass(frozen=True)
class Retrieved:
    """A prompt, its chunks, and which of them the answer needs."""

    prompt: str
    response: str
    documents: tuple[Document, ...]
    used: frozenset[str]
    """Ids."""
    twins: frozenset[str] = frozenset()
    """Of these either suffices."""


@dataclass
class Tally:
    """What came out."""

    cases: int = 0
    chunks: int = 0
    used_first: int = 0
    retriever_first: int = 0
    passes: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    grouped: int = 0
    """Cases in which the used chunks are said to stand in for each other."""

    def take(self, case: Retrieved, why: Attribution) -> None:
        by_value = sorted(range(len(why.values)), key=lambda i: -abs(why.values[i]))
        by_score = sorted(case.documents, key=lambda document: -(document.score or 0.0))
        size = len(case.used)
        names = [str(segment.name) for segment in why.segments]
        self.cases += 1
        self.chunks += len(names)
        self.used_first += {names[i] for i in by_value[:size]} == case.used
        self.retriever_first += {str(document.id) for document in by_score[:size]} == case.used
        self.grouped += any({names[i] for i in group} == case.twins for group in why.groups)
        self.passes += why.passes
        self.verdicts[why.verdict] += 1


def score_words(question: str, text: str) -> float:
    """Return the part of a text's words that the question has."""
    words = set(re.findall(r"\w+", text.lower()))
    return len(words & set(re.findall(r"\w+", question.lower()))) / max(len(words), 1)


def build_documents(texts: list[str], question: str) -> tuple[Document, ...]:
    return tuple(
        Document(content=text, id=f"c{i}", score=score_words(question, text)) for i, text in enumerate(texts)
    )


def iter_desk(kind: CaseKind, count: int) -> Iterator[Retrieved]:
    """Yield planted prompts of the embedded model that it answers by its rule."""
    for case in make_cases(kind, count, seed=61):
        begin, end = case.prompt.index("Customer: ") + len("Customer: "), case.prompt.rindex("\n\nAnswer:")
        spans = [(begin + a, begin + b) for a, b in split_sentences(case.prompt[begin:end])]
        documents = build_documents([case.prompt[a:b] for a, b in spans], QUESTION)
        planted = {f"c{i}" for i, (a, b) in enumerate(spans) if any(a <= s and e <= b for s, e in case.spans)}
        twins = planted if kind == "redundant" else set()
        dated = {d.id for d in documents if twins and re.search(r"\b\d+\b", d.content or "")}
        if answer(case.prompt) == case.answer and len({d.content for d in documents}) == len(documents):
            used = frozenset(planted | {str(name) for name in dated})
            yield Retrieved(case.prompt, case.answer, documents, used, frozenset(twins))


def iter_stories(count: int) -> Iterator[Retrieved]:
    """Yield short stories whose end is a name that one chunk has."""
    rng = random.Random(61)
    for _ in range(count):
        names, things = rng.sample(NAMES, 4), rng.sample(THINGS, 4)
        texts = [f"{name} had a big {thing}." for name, thing in zip(names, things, strict=True)]
        k = rng.randrange(4)
        question = "One day, they saw a friend. His name was"
        prompt = f"{' '.join(texts)} {question}"
        yield Retrieved(prompt, f" {names[k]}", build_documents(texts, question), frozenset({f"c{k}"}))


def measure(cases: Iterator[Retrieved], model: Any, method: str) -> dict[str, Any]:
    """Return how often the used chunks come first."""
    tally, begin = Tally(), time.perf_counter()
    for case in cases:
        why = attribute(case.prompt, case.response, model=model, segments=case.documents, method=method)
        tally.take(case, why)
    seconds = time.perf_counter() - begin
    return {
        "cases": tally.cases,
        "chunks_each": round(tally.chunks / max(tally.cases, 1), 1),
        "used_first": tally.used_first,
        "said_to_stand_in": tally.grouped,
        "retriever_first": tally.retriever_first,
        "passes_each": round(tally.passes / max(tally.cases, 1), 1),
        "seconds_each": float(np.round(seconds / max(tally.cases, 1), 3)),
        "verdicts": dict(tally.verdicts),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--stories", help="folder of a story model")
    options = parser.parse_args()
    for kind in KINDS:
        for method in ("occlusion", "auto"):
            figures = measure(iter_desk(kind, options.cases), "demo", method)
            print(json.dumps({"model": "embedded", "needed": kind, "method": method, **figures}), flush=True)
    if options.stories:
        for method in ("occlusion", "auto"):
            figures = measure(iter_stories(options.cases), options.stories, method)
            print(json.dumps({"model": "stories", "needed": "copy", "method": method, **figures}), flush=True)


if __name__ == "__main__":
    main()
