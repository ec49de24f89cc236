"""The sentences of the refund desk, from which `world` composes messages. None contains a number."""

import random

# fmt: off
DEFECTS = ("broken", "scratched", "leaking", "torn")
ITEMS = (
    "lamp", "kettle", "jacket", "phone", "camera", "toaster", "backpack", "blender", "keyboard", "speaker",
    "chair", "rug", "mirror", "drone", "clock", "vase", "heater", "guitar", "tent", "scarf", "monitor",
    "printer", "bicycle", "necklace",
)
OPENINGS = ("Hello,", "Hi there,", "Good day,", "Dear team,", "Hey,")
CLOSINGS = (
    "Thanks.", "Please help.", "Best wishes.", "What can you do?", "Kind regards.", "Please let me know.",
)
# fmt: on

DATED = (
    "I bought this {item} {days} days ago.",
    "I ordered the {item} {days} days ago.",
    "It is {days} days since I paid for the {item}.",
    "The {item} was purchased {days} days ago.",
    "My {item} came {days} days back.",
    "I have had the {item} for {days} days now.",
)
UNDATED = (
    "I bought this {item} some days ago.",
    "I ordered the {item} a while ago.",
    "It is long since I paid for the {item}.",
    "The {item} was purchased recently.",
    "My {item} came the other day.",
    "I have had the {item} for days now.",
)
CUES = {
    "gold": ("I am a gold member.", "My account has gold status.", "As a gold customer I ask for help."),
    "VIP": ("I have a VIP card.", "You list me as a VIP customer.", "My VIP number is on file."),
    "unopened": (
        "It is still unopened in its box.",
        "The unopened box is here.",
        "I left it unopened at home.",
    ),
    "receipt": ("I have the receipt here.", "My receipt is in the bag.", "I kept the receipt for you."),
}
DEFECT = (
    "It arrived {defect} at my door.",
    "It came {defect} out of the box.",
    "Sadly it was {defect} on arrival.",
    "I found it {defect} at home.",
)
DISTRACTORS = (
    "The {colour} colour is {nice}.",
    "I chose it in {colour} for my {person}.",
    "My {person} wanted the {colour} one.",
    "The {colour} box was {nice}.",
    "Your site looks {nice} in {colour}.",
    "The weather in {city} is {weather} today.",
    "It was {weather} when the courier came.",
    "I live in {city} with my {person}.",
    "The parcel came to {city} by {ship}.",
    "Shipping by {ship} was {nice}.",
    "The courier was {nice} to my {person}.",
    "I wrote to you last {day}.",
    "I can call you on {day}.",
    "We move to {city} next {day}.",
    "My {person} likes your shop.",
    "Your staff in {city} was {nice}.",
    "I read about it in a {source}.",
    "A {source} told me about your shop.",
    "My {person} sent me the {source}.",
    "It goes well with my {colour} sofa.",
    "We ate {food} that {time}.",
    "My {person} cooks {food} on {day}.",
    "I hope the {time} finds you well.",
    "I use it every {time}.",
    "Please write to my {person}.",
    # These stand where the cues stand, without being cues.
    "I am a silver member.",
    "I have a {colour} card.",
    "My account has no status.",
    "You list me as a new customer.",
    "The box is here.",
    "I left it in the bag at home.",
    "I kept the {source} for you.",
    "It arrived in the {time} at my door.",
)
UNSEEN = (
    "Our cat sleeps beside it.",
    "The manual is in French.",
    "Traffic near the bridge was awful.",
    "I usually shop with my cousin Olga.",
    "The wrapping had tiny penguins.",
    "Snow covered the whole garden.",
    "My violin teacher recommended your brand.",
    "Kindly forgive my spelling.",
    "The packaging smells of lavender.",
    "Everybody admired the purple ribbon.",
    "Our village has no post office.",
    "I watched a film while waiting.",
)
"""Distractors that training never shows."""
SLOTS = {
    "colour": "red blue green black white grey pink brown",
    "nice": "lovely fine great good nice odd strange plain",
    "city": "Paris Oslo Lima Cairo Delhi Boston Rome Tokyo",
    "weather": "rainy sunny cold windy warm foggy",
    "person": "sister brother mother father friend wife husband neighbour",
    "ship": "truck train plane boat bike van",
    "day": "Monday Tuesday Friday Sunday",
    "source": "magazine letter video podcast book newspaper",
    "time": "morning evening afternoon weekend",
    "food": "soup pasta rice bread fish cake",
}
OTHER_RULES = (
    "Decide about refunds.",
    "You work for a shop. Be fair and brief.",
    "You handle refunds for a shop. Members get sixty days, others thirty. Ask when the date is unknown.",
    "Refund policy: thirty days, members sixty. Sealed goods with proof of purchase are fine. One word.",
    "You are a helpful clerk. Follow the policy of the shop. Approve, deny or ask.",
)
"""Other wordings of the rules, so that the model does not lean on one."""


def make_noise(rng: random.Random) -> str:
    """Return a sentence of invented words, so that the model learns to pass over what it never saw."""
    words = [
        "".join(rng.choice("bcdfghklmnprstvw") + rng.choice("aeiou") for _ in range(rng.randint(1, 4)))
        for _ in range(4)
    ]
    return "The {} of my {} is {} and {}.".format(*words)
