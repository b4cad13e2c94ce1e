"""What makes a process a worker: it dies with its parent, takes so much memory, and says nothing."""

import os
import resource
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing import connection, parent_process

from glimpse_cli.files import MAX_BYTES

_PR_SET_PDEATHSIG = 1

# What a worker may take: its libraries, a file, and a picture with the copies that are made of it.
_BASE_MEMORY, _BYTES_A_PIXEL = 2**30, 32


def start(pixels: int, here: str) -> None:
    """Begin the life of a worker.

    Args:
        pixels: the most that a picture or a glimpse may have.
        here: the folder that names are relative to.
    """
    _die_with_parent()
    os.chdir(here)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a decoder that hangs in C would never hear of it otherwise
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # a decoder's chatter is neither data nor talk
        os.dup2(nowhere, stream)
    os.close(nowhere)
    most = _BASE_MEMORY + MAX_BYTES + _BYTES_A_PIXEL * pixels
    with suppress(ValueError, OSError):  # a limit below ours is there already
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _die_with_parent() -> None:
    """A worker never outlives the run, even where the run is killed while a decoder hangs."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - for this alone

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_outlive, args=(parent.sentinel,), daemon=True).start()


def _outlive(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
