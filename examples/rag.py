"""Retrieval, an answer, and which of the retrieved chunks the answer rests on, beside the retriever's score.

python examples/rag.py && llm-trace show last

The embedded model of the refund desk answers from the notes of a customer's file; with a model of your own
only `ask` changes.
"""

import os
import re

import llm_trace
from llm_trace.demo.model import answer
from llm_trace.demo.world import TEMPLATE_V1
from llm_trace.record import Attribution

NOTES = {
    "note-1": "My neighbour told me about the refund of your shop.",
    "note-2": "I bought this lamp 75 days ago.",
    "note-3": "The parcel came on a rainy day.",
    "note-4": "I am a gold customer of the shop.",
    "note-5": "The weather has been nice since.",
}


def count_shared_words(one: str, other: str) -> int:
    return len(set(re.findall(r"\w+", one.lower())) & set(re.findall(r"\w+", other.lower())))


@llm_trace.trace(kind="retriever")
def search(question: str, most: int = 4) -> list[dict[str, object]]:
    """Return the notes that share most words with the question."""
    scored = [(count_shared_words(question, text), name, text) for name, text in NOTES.items()]
    best = sorted(scored, key=lambda entry: (-entry[0], entry[1]))[:most]
    return [{"id": name, "content": text, "score": float(score)} for score, name, text in best]


@llm_trace.trace(kind="llm", model="demo")
def ask(prompt: str) -> str:
    return answer(prompt)


@llm_trace.trace
def decide(question: str) -> str:
    """Answer from what was found."""
    notes = search(question)
    return ask(TEMPLATE_V1.format(message=" ".join(str(note["content"]) for note in notes)))


def main() -> Attribution:
    llm_trace.configure(run="rag")
    print("answer:", decide("May I have a refund from the shop for what I bought?").strip())
    with llm_trace.open_store(os.environ["LLM_TRACE_STORE"]) as store:
        (call,) = store.calls(kind="llm", run="rag", limit=1)
    why = llm_trace.attribute(call, model="demo", segments="chunk")
    rows = zip(why.segments, why.values, strict=True)
    for segment, value in sorted(rows, key=lambda row: -abs(row[1])):
        print(f"{segment.name}  retriever {segment.score:.0f}  answer {value:+6.2f} nats  {segment.text}")
    print(why.summary())
    return why


if __name__ == "__main__":
    main()
