"""Random ids, that follow neither the user's `random.seed` nor a fork."""

from __future__ import annotations

import os
import random

_random = random.Random(os.urandom(16))
random_bits = _random.getrandbits

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _random.seed(os.urandom(16)))


def make_id() -> str:
    """Return a random id: 16 lower-case hex digits."""
    return random_bits(64).to_bytes(8, "big").hex()
