"""glimpse: fixed-size, sub-pixel, differentiable crops by Gaussian attention or a spatial transformer.

Three lines do what ``glimpse crop`` does::

    image = numpy.asarray(PIL.Image.open("chelsea.png"))
    glimpse = extract(image, Spec.from_box(Box(120, 50, 330, 200), size=(64, 64)))
    attention = mask(image.shape[:2], Spec.from_box(Box(120, 50, 330, 200), size=(64, 64)))

The names below are loaded when they are first asked for; for training, see `glimpse_cli.torch`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glimpse_cli.banks import Axis as Axis
    from glimpse_cli.banks import Bank as Bank
    from glimpse_cli.combs import Box as Box
    from glimpse_cli.combs import Comb as Comb
    from glimpse_cli.errors import GlimpseError as GlimpseError
    from glimpse_cli.glimpse import Spec as Spec
    from glimpse_cli.glimpse import coverage as coverage
    from glimpse_cli.glimpse import extract as extract
    from glimpse_cli.glimpse import mask as mask
    from glimpse_cli.kernels import Gaussian as Gaussian
    from glimpse_cli.kernels import Hat as Hat
    from glimpse_cli.kernels import Nearest as Nearest

__version__ = "0.1.0"

_HOMES = {
    "Axis": "banks",
    "Bank": "banks",
    "Box": "combs",
    "Comb": "combs",
    "Gaussian": "kernels",
    "GlimpseError": "errors",
    "Hat": "kernels",
    "Nearest": "kernels",
    "Spec": "glimpse",
    "coverage": "glimpse",
    "extract": "glimpse",
    "mask": "glimpse",
}

__all__ = ["__version__", *sorted(_HOMES)]  # noqa: PLE0604 - the names are strings, of which ruff sees a star


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
