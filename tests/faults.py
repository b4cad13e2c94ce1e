"""Workers that misbehave: each ``*_start`` takes the place of `process.start`, in the workers alone.

Light, for every worker that takes the place of one that died loads it anew. As a script it is ``glimpse batch`` with
such workers: ``python tests/faults.py halting_start photos -o out ...``.
"""

import os
import signal
import sys
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

from glimpse_cli import items
from glimpse_cli.batch import known, process, worker

START = process.start


def evil_start(*arguments):
    """A worker whose decoder is one of `EVIL` for the pictures of that name."""
    START(*arguments)
    load = items.load

    def evil(data, name, *rest, **options):
        stem = Path(name).stem
        if stem in EVIL:
            EVIL[stem]()
        return load(data, name, *rest, **options)

    items.load = evil


def _spin():
    while True:
        pass


def _recurse():
    _recurse()


def _flood():
    for _ in range(200):
        os.write(1, b"x" * 4096)
        os.write(2, b"x" * 4096)


EVIL = {
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "abort": os.abort,
    "exit0": lambda: os._exit(0),
    "exit7": lambda: os._exit(7),
    "leaves": lambda: sys.exit(0),
    "hangs": _spin,
    "sleeps": lambda: time.sleep(1000),
    "memory": lambda: bytearray(2**36),
    "recurses": _recurse,
    "floods": _flood,
}


def dying_start(*arguments):
    """A worker that dies when the files of one picture have their names, and before it can say so."""
    START(*arguments)
    land = worker.land

    def once(some):
        lost = land(some)
        if any(waiting.path.name == "0.png" for waiting in some):
            os._exit(7)
        return lost

    worker.land = once


def unlucky_start(*arguments):
    """A worker that dies as it reads a picture, if it is the first to."""
    START(*arguments)
    load = items.load

    def once(data, name, *rest, **options):
        with suppress(FileExistsError):
            Path(name).with_suffix(".tried").touch(exist_ok=False)
            os._exit(7)
        return load(data, name, *rest, **options)

    items.load = once


def slow_load_start(*arguments):
    """A worker that has to be awake for a moment to read a picture for the first time; it says when half is over."""
    START(*arguments)
    load = items.load

    def slowly(data, name, *rest, **options):
        tried = Path(name).with_suffix(".tried")
        for n in range(0 if tried.exists() else 8):
            if n == 4:
                tried.touch()
            time.sleep(0.1)
        return load(data, name, *rest, **options)

    items.load = slowly


def settled_start(*arguments):
    """A worker to which a file that changed a moment ago will not change again."""
    START(*arguments)
    known._SETTLED = 0


def unfinished_start(*arguments):
    """A worker that dies when the files of one picture are written and have no names yet."""
    START(*arguments)
    land = worker.land

    def never(some):
        if any(waiting.path.name == "0.png" for waiting in some):
            os._exit(7)
        return land(some)

    worker.land = never


def narrow_start(*arguments):
    """A worker that has too little memory to compute anything."""
    START(*arguments)

    def compute(*_):
        raise MemoryError

    items.compute = compute


def stillborn(*arguments):  # noqa: ARG001 - as process.start
    """A worker that dies before it can do anything."""
    os._exit(3)


def halting_start(*arguments):
    """A worker whose files take a moment between being written and getting their names, and the third for ever."""
    START(*arguments)
    replace_file, files = Path.replace, count(1)

    def slowly(self, target):
        time.sleep(0.03 if next(files) < 3 else 1000)
        return replace_file(self, target)

    Path.replace = slowly


if __name__ == "__main__":  # the workers read this file too
    from glimpse_cli.cli.app import app

    process.start = globals()[sys.argv[1]]
    app(["batch", *sys.argv[2:]], prog_name="glimpse")
