"""Worker processes that may die: a crash, a hang or an out-of-memory is blamed on the one picture that caused it.

pebble keeps the processes: it replaces one that died and kills one that is over its deadline, which the pools of
Python's own library cannot. What is ours is blame (a chunk that died is done again picture by picture), bounded
work in flight, and a new pool where one broke.
"""

import math
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import active_children, forkserver, get_all_start_methods, get_context
from threading import Lock, Thread
from typing import Any, Generic, Self, TypeVar

from pebble import ProcessExpired, ProcessPool

from glimpse_cli.batch import process
from glimpse_cli.errors import GlimpseError
from glimpse_cli.files import working_folder
from glimpse_cli.images.loading import PLUGINS

T = TypeVar("T")
R = TypeVar("R")

_TICK = 0.2  # seconds after which the parent looks up
_PAUSE = 1.0  # seconds beyond that which only a system that sleeps, a stop or a clock that is set can take
_GRACE = 15.0  # seconds beyond a deadline without any sign of life after which the pool itself is given up
_CHUNK_SECONDS, _LARGEST_CHUNK = 0.1, 16  # so much work a message that its cost is not felt
_PATIENCE = 3.0  # seconds that the end of a pool may take
_TRIES = 5  # pools that may break in a row before the run is given up

# What a worker needs is loaded once, in a server process that holds nothing else and that the workers are forked from.
_PRELOAD = ["glimpse_cli.mute", "glimpse_cli.batch.worker", *(f"PIL.{name}" for name in PLUGINS.values())]
_ALONE = Lock()  # of what threads share, each of which may have a run: the environment, and stderr
_BEFORE: list[dict[str, str | None]] = []  # what the environment was as each pool that is at work began
_SIGNALS = {known.value: known.name for known in signal.Signals}


class TaskError(GlimpseError):
    """A task that its worker did not survive, or that took too long; ``reason`` is a word or three."""

    def __init__(self, what: str, reason: str, *, why: str | None = None, hint: str | None = None) -> None:
        super().__init__(what, why=why, hint=hint)
        self.reason = reason


class Pool:
    """Workers for chunks of tasks.

    Args:
        jobs: processes.
        timeout: seconds that one task may take.
        pixels: see `process.start`.
    """

    def __init__(self, jobs: int, timeout: float, pixels: int) -> None:
        self.jobs, self.timeout, self.pixels = jobs, timeout, pixels
        self._pool: ProcessPool | None = None
        self._broken = 0
        self._held = ExitStack()
        self._here = working_folder()  # the server's may be another
        self.died = False  # some worker did, and may have left something half-written

    def __enter__(self) -> Self:
        self._held.enter_context(_environment())  # all the while: workers that died are replaced
        return self

    def __exit__(self, *_: object) -> None:
        with self._held:
            self._end()

    def map(
        self, function: Callable[..., list[R]], tasks: Iterable[T], *args: Any
    ) -> Iterator[tuple[T, R | TaskError]]:
        """Results as they come, in no order.

        Args:
            function: of a chunk of tasks and ``args``, gives a list with a result a task; pickled by its name.
            tasks: taken as workers become free.
            args: the same for every chunk.

        Yields:
            A task, and its result or how its process ended.

        Raises:
            GlimpseError: no worker can be started, or lives long enough to do anything.
        """
        flight = _Flight(iter(tasks))
        while True:
            while len(flight.flying) < 2 * self.jobs and (chunk := flight.next()).tasks:
                flight.flying[self._send(function, chunk.tasks, args)] = chunk
            if not flight.flying:
                return
            finished = flight.finished()
            for future in finished:
                yield from self._results(future, flight)
            if flight.lost or not self._alive(flight.heard):
                self._give_up_on(flight)

    def _results(self, future: "Future[tuple[float, list[R]]]", flight: "_Flight[T]") -> Iterator[tuple[T, Any]]:
        chunk, error = flight.flying.pop(future), future.exception()
        if isinstance(error, BrokenProcessPool):
            flight.alone.extend(chunk.tasks)
            flight.lost = self.died = True
            return
        flight.heard, self._broken = time.monotonic(), 0
        if error is None:
            seconds, results = future.result()
            flight.size = min(max(1, int(_CHUNK_SECONDS * len(results) / max(seconds, 1e-9))), _LARGEST_CHUNK)
            yield from zip(chunk.tasks, results, strict=True)
            return
        self.died = True
        # pebble's deadlines are the wall clock's, which goes on while a laptop sleeps or Ctrl-Z stops the run
        doubtful = isinstance(error, ProcessExpired) or chunk.began < flight.paused
        if len(chunk.tasks) > 1 or (doubtful and not chunk.again):
            flight.alone.extend(chunk.tasks)  # one of them did it, or a system short of memory: each again, by itself
        else:
            yield chunk.tasks[0], self._blame(error)

    def _blame(self, error: BaseException) -> TaskError:
        if isinstance(error, TimeoutError):
            return TaskError(f"took longer than {self.timeout:g} s", "timed out", hint="--timeout allows more")
        if isinstance(error, ProcessExpired):
            code = error.exitcode
            how = f"signal {_SIGNALS.get(-code, -code)}" if code < 0 else f"exit code {code}"
            return TaskError("the decoder crashed", "crashed", why=how)
        return TaskError(f"a bug: {type(error).__name__}: {error}", "bug")  # the run goes on; its text says where

    def _send(
        self, function: Callable[..., list[R]], chunk: list[T], args: tuple[Any, ...]
    ) -> "Future[tuple[float, list[R]]]":
        try:
            if self._pool is None:
                self._pool = self._begin()
            return self._pool.schedule(_timed, (function, chunk, args), timeout=self.timeout)
        except OSError as error:
            raise GlimpseError(
                "worker processes cannot be started",
                why=error.strerror or str(error),
                hint="--jobs 1, or more of what they need: ulimit -n, ulimit -u, /dev/shm",
            ) from error
        except RuntimeError as error:  # it broke since we last looked, or there is no thread left for it
            lost: Future[tuple[float, list[R]]] = Future()
            lost.set_exception(BrokenProcessPool(str(error)))
            return lost

    def _begin(self) -> ProcessPool:
        context = get_context("forkserver" if _has_server() else "spawn")
        return ProcessPool(self.jobs, initializer=process.start, initargs=(self.pixels, self._here), context=context)

    def _alive(self, heard: float) -> bool:
        silent = time.monotonic() - heard > self.timeout + _GRACE
        return self._pool is not None and self._pool.active and not silent

    def _give_up_on(self, flight: "_Flight[T]") -> None:
        """The pool broke: everything in flight is done again, by a new one."""
        self._end()
        self._broken += 1
        if self._broken == _TRIES:
            hint = "--jobs 1, or more memory; and a script begins its work below if __name__ == '__main__':"
            raise GlimpseError("worker processes die before they do anything", hint=hint)
        for chunk in flight.flying.values():
            flight.alone.extend(chunk.tasks)
        flight.flying.clear()
        flight.lost, flight.heard = False, time.monotonic()

    def _end(self) -> None:
        """Stop the workers, whatever they are doing, within a few seconds."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        pool.stop()  # type: ignore[no-untyped-call]  # pebble is typed for the most part
        # It ends one after the other, once their locks are gone: of which one that is being born would complain.
        for worker in [*pool._pool_manager.worker_manager.workers.values()]:  # noqa: SLF001
            worker.terminate()
        end = Thread(target=pool.join, daemon=True)  # it may wait for a pipe that nobody reads
        with suppress(RuntimeError):  # a system that has no thread left
            end.start()
            end.join(_PATIENCE)
        if end.is_alive() or end.ident is None:
            for child in active_children():
                if child.name == "pebble_pool_worker":
                    child.kill()


class _Flight(Generic[T]):
    """The tasks of one `Pool.map`: those to come, those in flight, and those to be done again by themselves."""

    def __init__(self, source: Iterator[T]) -> None:
        self.source = source
        self.alone: deque[T] = deque()
        self.flying: dict[Future[Any], _Chunk[T]] = {}
        self.size = 1
        self.lost = False
        self.heard = time.monotonic()
        self.looked = time.time()  # when the last tick ended
        self.paused = -math.inf  # when time last went by in which no worker could work

    def finished(self) -> "set[Future[Any]]":
        """What came to its end within a tick."""
        done, _ = wait(self.flying, _TICK, FIRST_COMPLETED)
        now = time.time()
        if now - self.looked > _TICK + _PAUSE:
            self.paused = time.monotonic()
        self.looked = now
        return done

    def next(self) -> "_Chunk[T]":
        if self.alone:
            return _Chunk([self.alone.popleft()], again=True)
        return _Chunk(list(islice(self.source, self.size)))


@dataclass(frozen=True, slots=True)
class _Chunk(Generic[T]):
    tasks: list[T]
    again: bool = False
    began: float = field(default_factory=time.monotonic)


def _timed(function: Callable[..., list[R]], chunk: list[T], args: tuple[Any, ...]) -> tuple[float, list[R]]:
    began = time.perf_counter()
    results = function(chunk, *args)
    return time.perf_counter() - began, results


def _has_server() -> bool:
    """Whether there is a process that workers are forked from; it is begun if need be.

    It listens at a socket in the folder for temporary files, whose name may be too long for one (107 bytes) and whose
    disk may know none: then there is no server, and every worker loads the libraries for itself.
    """
    if "forkserver" not in get_all_start_methods():
        return False
    forkserver.set_forkserver_preload(_PRELOAD)
    try:
        with _ALONE, _deaf_and_mute():
            forkserver.ensure_running()
    except OSError:
        return False
    return True


@contextmanager
def _deaf_and_mute() -> Iterator[None]:
    """What is started here hears no SIGHUP and says nothing.

    A terminal that closes is told to the parent, which ends the rest. And where the parent ends while a worker begins,
    Python's own traceback is no news.
    """
    with ExitStack() as undo:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        undo.callback(signal.pthread_sigmask, signal.SIG_SETMASK, before)
        undo.callback(os.close, stderr := os.dup(2))
        undo.callback(os.close, nowhere := os.open(os.devnull, os.O_WRONLY))
        undo.callback(os.dup2, stderr, 2)
        os.dup2(nowhere, 2)
        yield


@contextmanager
def _environment() -> Iterator[None]:
    """What is started here finds modules where this process does.

    Workers are begun by ``python -c``, which for itself looks into the working folder first: of pictures, whose
    ``json.py`` is not to be run.
    """
    values = {
        "OPENBLAS_NUM_THREADS": "1",  # see __main__
        "PILLOW_BLOCKS_MAX": "8",
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)),
    }
    with _ALONE:
        _BEFORE.append({name: os.environ.get(name) for name in values})
        os.environ.update(values)
    try:
        yield
    finally:
        with _ALONE:
            for name, value in _BEFORE.pop().items():  # the first one's comes last, whoever ends last
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
