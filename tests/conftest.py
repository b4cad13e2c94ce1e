"""Every test sees the same terminal: no colour, a fixed width; property tests have no deadline."""

import math
import os
import signal
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "glimpse", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("glimpse")

if not Path("/dev/nvidiactl").exists():  # where no GPU is, Triton interprets its kernels: said before it is imported
    os.environ["TRITON_INTERPRET"] = "1"


# The tests' own workers take the cores: torch's threads beside them make them up to six times as slow.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch):
    for name in ("GLIMPSE_DEVICE", "GLIMPSE_JOBS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.setenv("TERMINAL_WIDTH", "110")


@pytest.fixture(autouse=True)
def _random_numbers_of_its_own(request):
    """A test's are the same whatever ran before it in its process."""
    if rng := getattr(request.module, "RNG", None):
        rng.bit_generator.state = np.random.default_rng(zlib.crc32(request.node.name.encode())).bit_generator.state


@pytest.fixture
def signals_are_heard():
    """By what a test starts, also where pytest itself was started not to hear them: in the background, by nohup."""
    before = {each: signal.signal(each, signal.default_int_handler) for each in (signal.SIGINT, signal.SIGHUP)}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.fixture
def interpreter(monkeypatch):
    """Triton's, which takes half of its time to make the language ready again for each function that a kernel calls."""
    pytest.importorskip("triton", "3.3", reason="Triton is not there, or too old")
    from triton.runtime import interpreter as triton

    ready = set()

    def call(function, *arguments, **keywords):
        if function.fn.__module__ not in ready:
            triton._patch_lang(function.fn)
            ready.add(function.fn.__module__)
        return function.rewrite()(*arguments, **keywords)

    monkeypatch.setattr(triton.InterpretedFunction, "__call__", call)


@pytest.fixture(params=["dense", "banded", "summed", "fused"])
def form(request, monkeypatch):
    """Each form of torch's product in turn, whatever the estimates would choose; fused is a GPU's, interpreted."""
    from glimpse_cli.torch import _banded, _functional, _operators

    monkeypatch.setattr(_functional, "SMALL", math.inf if request.param == "dense" else 0)
    monkeypatch.setattr(_banded, "SETUP", 0 if request.param == "summed" else math.inf)
    monkeypatch.setattr(_banded, "SLOWER", 0)
    if request.param == "fused":
        if "TRITON_INTERPRET" not in os.environ:
            pytest.skip("there is a GPU to run the kernels: tests/test_torch_fused.py")
        request.getfixturevalue("interpreter")
        from glimpse_cli.torch import _fused

        monkeypatch.setattr(_operators, "form_of", lambda _device: _fused)
    with np.errstate(all="ignore"):  # the interpreter's, of numbers that are then thrown away
        yield request.param


@pytest.fixture
def photos(tmp_path):
    from batches import picture

    folder = tmp_path / "photos"
    for n, name in enumerate(["b.png", "a.png", "sub/c.png", "sub/deep/d.v2.png"]):
        picture(folder / name, n)
    return folder
