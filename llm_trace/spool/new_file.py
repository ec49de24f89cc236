"""Begin a file of the spool: private, locked and with its header before anyone sees it."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: a writer is then taken for dead once its file stops growing
    fcntl = None  # type: ignore[assignment]

_HIGH_FD = 200


def begin_file(name: Path, header: bytes) -> int:
    """Return the descriptor of a new file with its header.

    Raises:
        OSError: it could not be made whole; nothing of it is left.
    """
    temporary = name.with_suffix(".tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    fd = _raise_number(fd)
    try:
        if fcntl is not None:
            fcntl.flock(fd, fcntl.LOCK_EX)
        if os.write(fd, header) != len(header):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        temporary.rename(name)
    except BaseException:
        os.close(fd)
        temporary.unlink(missing_ok=True)
        raise
    return fd


def _raise_number(fd: int) -> int:
    """Give a descriptor a high number, which no file that a program opens gets soon after it was closed."""
    if fcntl is not None:
        with contextlib.suppress(OSError):  # a low limit of open files
            high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH_FD)
            os.close(fd)
            return high
    return fd
