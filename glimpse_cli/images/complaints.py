"""What libtiff prints of itself is caught: Pillow passes no word of it on."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# How libtiff names the part of it that complains, where it is one that decodes.
DECODING = re.compile(r"\w*Decode\w*: ")
NOT_BUILT = re.compile(r"compression support is not configured")


@contextmanager
def listening(heard: list[str]) -> Iterator[None]:
    """Keep libtiff, which prints its complaints on file descriptor 2 by itself, from doing so.

    Args:
        heard: gets them, a line each, when the block ends.
    """
    try:
        kept = os.dup(2)
    except OSError:  # the process has no stderr
        kept = os.open(os.devnull, os.O_WRONLY)
    reader, writer = os.pipe()
    if hasattr(os, "set_blocking"):  # not on Windows before Python 3.12
        for end in (reader, writer):
            os.set_blocking(end, False)  # a flood of complaints loses its end, and nobody waits for anybody
    try:
        os.dup2(writer, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(writer)
        with suppress(BlockingIOError):  # a child process may hold the other end
            heard += os.read(reader, 2**16).decode("latin-1").splitlines()
        os.close(reader)
