"""First names for scenarios: lists of different people, so that names can be drawn and swapped."""

from __future__ import annotations

WOMEN = (
    "Aisha", "Alice", "Amara", "Ana", "Astrid", "Beatriz", "Camille", "Chiara", "Dana", "Elena", "Emma",
    "Fatima", "Grace", "Hana", "Helga", "Ingrid", "Irina", "Jasmine", "Julia", "Keiko", "Layla", "Leila",
    "Lucia", "Maria", "Mei", "Nadia", "Naomi", "Olivia", "Paula", "Priya", "Rosa", "Ruth", "Sofia", "Sunita",
    "Tamara", "Vera", "Wanda", "Yara", "Zeynep", "Zoe",
)  # fmt: skip
MEN = (
    "Ahmed", "Albert", "Amir", "Andrei", "Arjun", "Boris", "Carlos", "Chen", "Daniel", "Diego", "Emil",
    "Farid", "Felix", "George", "Hans", "Hiroshi", "Ivan", "Jakob", "Jamal", "Jorge", "Kofi", "Lars", "Luca",
    "Mateo", "Mehmet", "Miguel", "Nikolai", "Omar", "Oscar", "Paolo", "Pedro", "Rahul", "Samuel", "Stefan",
    "Tariq", "Thomas", "Viktor", "Walter", "Yusuf", "Zoran",
)  # fmt: skip
NAMES = {"women": WOMEN, "men": MEN, "people": WOMEN + MEN}
