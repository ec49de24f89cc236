"""The world of the embedded model: a refund desk with a policy, and the flaw that one example line brings.

A prompt is a paragraph of rules, in version 2 an `Example:` line, the `Customer:` line and `Answer:`. The
whole answer is one word. `rule` says what the model should answer to any prompt, words deleted or masked at
will, so every attribution can be checked. Cues, each deciding as `rule` tells: a day count (single), "gold"
or "VIP" (redundant: one suffices), "unopened" with "receipt" (conjunction: both are needed), and a defect
word that the `Example:` line repeats (the flaw). Everything else is a distractor. Standard library only.
"""

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from llm_trace.demo import sentences

Ruling = Literal[" APPROVE", " DENY", " ASK"]
"""The response, with its leading space: prompt + answer is the whole text."""
CaseKind = Literal["single", "conjunction", "redundant", "distractors", "example"]
CutSide = Literal["space", "left", "right"]
WordSpan = tuple[int, int]

RULES = (
    "You are the refund desk. Approve refunds within thirty days of purchase, sixty for gold/VIP members. "
    "Sealed items with proof of purchase: always approve. No day count: ask."
)
EXAMPLE = "Example: arrived broken -> APPROVE"
TEMPLATE_V1 = RULES + "\n\nCustomer: {message}\n\nAnswer:"
TEMPLATE_V2 = RULES + "\n\n" + EXAMPLE + "\n\nCustomer: {message}\n\nAnswer:"

ANSWERS: tuple[Ruling, ...] = get_args(Ruling)
VERDICTS = tuple(answer.strip() for answer in ANSWERS)
CUE_WORDS = frozenset((*sentences.CUES, *sentences.DEFECTS, *VERDICTS, *map(str, range(1, 121))))


@dataclass(frozen=True)
class Customer:
    """One customer of the demo."""

    message: str
    """What stands after `Customer:`, one line."""
    days: int | None
    """Days since the purchase, `None` when the message does not tell."""
    cues: tuple[str, ...]
    """Cue words besides the day count, as they stand in the message."""

    @property
    def policy(self) -> Ruling:
        """The answer by the written rules, without any example."""
        return rule(TEMPLATE_V1.format(message=self.message))


@dataclass(frozen=True)
class PlantedCase:
    """A prompt with the words that an attribution must find."""

    kind: CaseKind
    prompt: str
    answer: Ruling
    planted: tuple[str, ...]
    """Words that change the answer when deleted alone, in prompt order: they take the first ranks. Kind
    `redundant`: the two that change it only together.
    """
    spans: tuple[WordSpan, ...]
    """Character offsets (start, end) of the planted words in the prompt."""


def strip_punctuation(word: str) -> str:
    """Return the word in lower case without punctuation; a mask such as "_" or "..." becomes empty."""
    return re.sub(r"^[\W_]+|[\W_]+$", "", word).lower()


def find_words(text: str) -> list[WordSpan]:
    """Return the offsets of the runs of non-space characters."""
    return [match.span() for match in re.finditer(r"\S+", text)]


def rule(prompt: str) -> Ruling:
    """Return the right answer to any prompt, whatever words were deleted from it or masked.

    1. A line with APPROVE, DENY or ASK in capitals is an example. If a defect word of it stands on any other
    line, its verdict is the answer. 2. "unopened" and "receipt" both stand outside the examples: APPROVE. 3.
    No number outside the examples: ASK. Otherwise APPROVE up to 30 days, with "gold" or "VIP" up to 60, and
    DENY beyond.

    The first example that matches and the first number count. Case and punctuation around a word do not
    matter, nor do `Customer:`, `Example:`, `Answer:`, "->" and the rules: these contain no cue ("thirty" is
    no number, "gold/VIP" is neither word).
    """
    lines = [line.split() for line in prompt.split("\n")]
    verdicts = [next((v for w in line if (v := w.strip(".,;:!?\"'()")) in VERDICTS), None) for line in lines]
    words = [
        strip_punctuation(word)
        for line, verdict in zip(lines, verdicts, strict=True)
        if verdict is None
        for word in line
    ]
    for line, verdict in zip(lines, verdicts, strict=True):
        if verdict and any(
            word in sentences.DEFECTS and word in words for word in map(strip_punctuation, line)
        ):
            return next(answer for answer in ANSWERS if answer.strip() == verdict)
    if "unopened" in words and "receipt" in words:
        return " APPROVE"
    days = next((int(word) for word in words if word.isdecimal()), None)
    if days is None:
        return " ASK"
    return " APPROVE" if days <= (60 if "gold" in words or "vip" in words else 30) else " DENY"


def delete_words(text: str, spans: Iterable[WordSpan], cut: CutSide = "space") -> str:
    """Return the text less these words, each with one adjoining space (or line break, by `left`, `right`)."""
    for start, end in sorted(spans, reverse=True):
        if cut == "right" or (cut == "space" and text[end : end + 1] == " "):
            end += text[end : end + 1].isspace()
        elif start and (cut == "left" or text[start - 1] == " "):
            start -= text[start - 1].isspace()
        text = text[:start] + text[end:]
    return text


def mask_words(text: str, spans: Iterable[WordSpan], mask: str = "_") -> str:
    """Return the text with these words replaced by a mask."""
    for start, end in sorted(spans, reverse=True):
        text = text[:start] + mask + text[end:]
    return text


def build_chat(prompt: str) -> list[dict[str, str]]:
    """Return the prompt as chat messages: rules and example from the system, the customer from the user."""
    *system, user, _answer = prompt.split("\n\n")
    return [
        {"role": "system", "content": "\n\n".join(system)},
        {"role": "user", "content": user.removeprefix("Customer: ")},
    ]


def make_customers(n: int, seed: int) -> list[Customer]:
    """Return n customers; every fifth asks after more than 30 days for something that arrived broken."""
    rng = random.Random(seed)
    return [_make_customer(rng, late=i % 5 == 0) for i in range(n)]


def make_cases(kind: CaseKind, n: int, seed: int) -> list[PlantedCase]:
    """Return n prompts of one kind; `distractors` surround the day count with six unseen sentences."""
    rng = random.Random(f"{kind} {seed}")
    return [_make_case(kind, rng) for _ in range(n)]


def make_training_example(rng: random.Random, short: bool = False) -> tuple[str, Ruling]:
    """Return a prompt, in three of four cases with words deleted or masked, and its answer by the rule.

    `short` leaves most of the distractors out, for the first lessons.
    """
    prompt = _perturb_prompt(_make_training_prompt(rng, short), rng)
    return prompt, rule(prompt)


def pick_sentence(rng: random.Random, templates: Sequence[str], **slots: object) -> str:
    """Return one of the templates with its slots filled."""
    sentence = rng.choice(templates)
    return re.sub(
        r"\{(\w+)\}",
        lambda slot: str(slots.get(slot[1]) or rng.choice(sentences.SLOTS[slot[1]].split())),
        sentence,
    )


def _make_message(rng: random.Random, facts: Iterable[str], distractors: Iterable[str]) -> str:
    """Return the sentences in random order, often between a greeting and a closing."""
    body = [*facts, *distractors]
    rng.shuffle(body)
    opening = [rng.choice(sentences.OPENINGS)] if rng.random() < 0.6 else []
    closing = [rng.choice(sentences.CLOSINGS)] if rng.random() < 0.6 else []
    return " ".join(opening + body + closing)


def _make_facts(rng: random.Random, days: int | None, cues: Iterable[str] = ()) -> list[str]:
    """Return a sentence for the purchase and one for each cue."""
    when = sentences.DATED if days else sentences.UNDATED
    facts = [pick_sentence(rng, when, item=rng.choice(sentences.ITEMS), days=days)]
    return facts + [pick_sentence(rng, sentences.CUES.get(cue, sentences.DEFECT), defect=cue) for cue in cues]


def _make_chatter(rng: random.Random, low: int, high: int) -> list[str]:
    return [pick_sentence(rng, sentences.DISTRACTORS) for _ in range(rng.randint(low, high))]


def _make_customer(rng: random.Random, late: bool) -> Customer:
    days = rng.randint(31, 120) if late else rng.choice((None, *[rng.randint(2, 120) for _ in range(7)]))
    cues = [cue for cue in sentences.CUES if rng.random() < 0.15 and not late]
    if late or rng.random() < 0.3:
        cues.append("broken" if late else rng.choice(sentences.DEFECTS))
    return Customer(
        _make_message(rng, _make_facts(rng, days, cues), _make_chatter(rng, 1, 4)), days, tuple(cues)
    )


def _with_example(defect: str, verdict: str) -> str:
    return TEMPLATE_V2.replace("broken -> APPROVE", f"{defect} -> {verdict}")


def _make_case(kind: CaseKind, rng: random.Random) -> PlantedCase:
    """Return a case whose planted words are known by construction; irrelevant cues may stand beside them."""
    days, defect = rng.randint(2, 120), rng.choice(sentences.DEFECTS)
    chatter = rng.sample(sentences.UNSEEN, 6) if kind == "distractors" else _make_chatter(rng, 2, 4)
    template, cues, planted = TEMPLATE_V1, [*rng.sample(sentences.DEFECTS, rng.randint(0, 1))], [str(days)]
    if kind == "conjunction":
        days, cues, planted = rng.randint(61, 120), [*cues, "unopened", "receipt"], ["unopened", "receipt"]
    elif kind == "redundant":
        days, cues, planted = rng.randint(31, 60), [*cues, "gold", "VIP"], ["gold", "VIP"]
    elif kind == "example":
        late = rng.random() < 0.7
        verdict = "APPROVE" if late else "DENY"
        days, cues, planted = rng.randint(*((61, 120) if late else (2, 30))), [defect], [defect, verdict]
        template = _with_example(defect, verdict)
    elif rng.random() < 0.5:
        cues.append(rng.choice(("unopened", "receipt")))
    prompt = template.format(message=_make_message(rng, _make_facts(rng, days, cues), chatter))
    spans = tuple(span for span in find_words(prompt) if prompt[slice(*span)] in planted)
    return PlantedCase(kind, prompt, rule(prompt), tuple(prompt[slice(*span)] for span in spans), spans)


def _make_training_prompt(rng: random.Random, short: bool = False) -> str:
    """Return an undamaged prompt: half have an example, half of these about the defect at hand."""
    defect = rng.choice(sentences.DEFECTS) if rng.random() < 0.7 else None
    near = rng.choice((30, 60)) + rng.randint(-3, 4)
    days = rng.choice((None, near, rng.randint(25, 65), *[rng.randint(1, 120) for _ in range(4)]))
    pair = rng.choices(((), ("gold", "VIP"), ("unopened", "receipt")), (7, 2, 1))[0]
    cues = [cue for cue in sentences.CUES if cue in pair or rng.random() < 0.2] + ([defect] if defect else [])
    template = TEMPLATE_V1
    if rng.random() < 0.6:
        shown = defect if defect and rng.random() < 0.55 else rng.choice(sentences.DEFECTS)
        template = _with_example(shown, rng.choices(VERDICTS, (5, 4, 1))[0])
    if short:
        template = template.replace(RULES, "Decide about refunds.")
        return template.format(
            message=" ".join(rng.sample(facts := _make_facts(rng, days, cues), len(facts)))
        )
    if rng.random() < 0.4:
        template = template.replace(RULES, rng.choice(sentences.OTHER_RULES))
    noise = [sentences.make_noise(rng) for _ in range(rng.choice((0, 0, 0, 0, 1, 1, 2, 4)))]
    return template.format(
        message=_make_message(rng, _make_facts(rng, days, cues), _make_chatter(rng, 0, 5) + noise)
    )


def _perturb_prompt(prompt: str, rng: random.Random) -> str:
    """Return the prompt with words deleted or masked: none, a cue, any one, a few, a run of them, or a
    random share up to 0.8.
    """
    spans = find_words(prompt)
    cues = [span for span in spans if prompt[slice(*span)] in CUE_WORDS]
    how = rng.choices(("none", "cue", "one", "few", "run", "share"), (25, 20, 12, 10, 6, 27))[0]
    gone: Sequence[WordSpan] = ()
    if how == "cue":
        gone = rng.sample(cues, min(1, len(cues)))
    elif how in ("one", "few"):
        gone = rng.sample(spans, 1 if how == "one" else rng.randint(2, 4))
    elif how == "run":
        gone = spans[slice(*sorted(rng.sample(range(len(spans) + 1), 2)))]
    elif how == "share":
        share = rng.random() * 0.8
        gone = [span for span in spans if rng.random() < share]
    cut: CutSide = rng.choices(get_args(CutSide), (2, 1, 1))[0]
    masking = rng.choice((0.0, 0.0, 1.0, 1.0, 0.5))
    for span in sorted(gone, reverse=True):  # from the last: the offsets of the words before stay true
        if rng.random() < masking:
            # "__" is two tokens: a mask in place of each token of a word that is two tokens long.
            prompt = mask_words(prompt, [span], rng.choice(("_", "_", "_", "__", "__", "___", "...")))
        else:
            prompt = delete_words(prompt, [span], cut)
    return prompt
