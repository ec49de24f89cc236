"""What ends a rerun of a program where all that was asked of it is known."""

from __future__ import annotations


class Halt(BaseException):
    """Ends a program at a call on purpose: the calls around it are cancelled, not failed.

    No `except Exception` of the program goes on after it.
    """
