"""Where a glimpse is computed: the CPU with NumPy, or a GPU through torch. The kernels are the same numbers.

This is the only place on the command's path that may import torch, and it does so only when a GPU is asked for.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glimpse_cli.banks import Bank, Floats
from glimpse_cli.errors import DeviceError, ParameterError
from glimpse_cli.glimpse import contract


@dataclass(frozen=True, slots=True)
class Device:
    """A place to compute.

    Args:
        name: ``cpu``, ``cuda`` or ``cuda:N``.
        contract: By · window · Bxᵀ there; see `glimpse_cli.glimpse.contract`.
    """

    name: str
    contract: Callable[[NDArray[Any], Bank, Bank], Floats]


def resolve(name: str, option: str = "--device") -> Device:
    """The device of a name.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``: a GPU where there is one, else the CPU.
        option: what says so, for errors.

    Raises:
        ParameterError: no such name.
        DeviceError: a GPU was asked for, and torch or the GPU is missing.
    """
    if not re.fullmatch(r"cpu|auto|cuda(:(0|[1-9]\d{0,2}))?", name, re.ASCII):
        raise ParameterError(f"{option} must be cpu, cuda, cuda:N or auto, got {name!a}")
    if name == "cpu":
        return Device("cpu", contract)
    try:
        return on_torch(_gpu(name, option))
    except DeviceError:
        if name != "auto":
            raise
        return Device("cpu", contract)


def _gpu(name: str, option: str) -> str:
    """``cuda`` or ``cuda:N``, if it is there."""
    if find_spec("torch") is None:
        what = f"{option} {name} needs torch, which is not installed"
        raise DeviceError(what, hint="pip install 'glimpse-cli[torch]'")
    try:
        import torch  # noqa: PLC0415 - two seconds that only this path pays
    except (ImportError, OSError) as error:  # OSError: a library of its own that cannot be loaded
        why = str(error).partition("\n")[0]
        raise DeviceError(f"{option} {name} needs torch, which cannot be loaded", why=why, hint=_GET_TORCH) from error
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(name.partition(":")[2] or 0) < count:
        return "cuda" if name == "auto" else name
    if torch.version.cuda is None and torch.version.hip is None:
        why, hint = f"torch {torch.__version__} is built without CUDA", _GET_TORCH
    elif count:
        why, hint = f"torch sees {count} GPU{'s' if count > 1 else ''}, counted from 0", "cuda:0"
    else:
        why, hint = f"torch {torch.__version__} sees no GPU", "nvidia-smi shows what the driver sees; or the device cpu"
    raise DeviceError(f"{option} {name} is not there", why=why, hint=hint)


_GET_TORCH = "a torch with CUDA, see https://pytorch.org/get-started/locally"


def on_torch(name: str) -> Device:
    """A device of torch's: the banks of the CPU, multiplied there. Finite numbers agree with the CPU's to 2e-5."""
    import torch  # noqa: PLC0415 - see resolve

    from glimpse_cli.torch._extract import contract as multiplied  # noqa: PLC0415 - likewise

    where = torch.device(name)

    def run(window: NDArray[Any], by: Bank, bx: Bank) -> Floats:
        cube = window if window.ndim == 3 else window[:, :, None]
        sent = torch.from_numpy(np.require(cube, requirements=["C", "W"])).to(where)
        glimpse: Floats = multiplied(sent.movedim(-1, 0), by, bx).movedim(0, -1).cpu().numpy()
        return glimpse if window.ndim == 3 else glimpse[:, :, 0]

    return Device(name, run)
