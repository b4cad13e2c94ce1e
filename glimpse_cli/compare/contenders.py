"""What is compared, from what people type: ``hard,gaussian:s=0.5,stn`` and ``mae=0.01``."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast, get_args

from glimpse_cli.errors import ParameterError, UsageError
from glimpse_cli.glimpse import Method
from glimpse_cli.places import Look, Pair, parse_number, parse_width

if TYPE_CHECKING:
    from glimpse_cli.kernels import Padding
    from glimpse_cli.places import Place

_WIDTHS = "gaussian:s=0.5, or gaussian:s=Y/X"
METRICS = {"mae": False, "max": False, "psnr": True, "ssim": True}  # name: whether more is better


@dataclass(frozen=True, slots=True)
class Contender:
    """A method that takes part.

    Args:
        label: as typed: ``stn``, ``gaussian:s=0.5``.
        look: where and how it looks.
    """

    label: str
    look: Look


@dataclass(frozen=True, slots=True)
class Limit:
    """A value that a metric must not pass: above it, or, where more is better, below it."""

    metric: str
    value: float

    def passed_by(self, found: float) -> bool:
        """Whether a value found is worse than the limit; NaN is."""
        kept = found >= self.value if METRICS[self.metric] else found <= self.value
        return not kept


def parse_methods(
    text: str,
    place: "Place",
    size: tuple[int, int],
    *,
    s: Pair | None = None,
    padding: "Padding | None" = None,
    name: str = "--methods",
    known: str = ",".join(get_args(Method)),
) -> tuple[Contender, ...]:
    """``hard,gaussian,stn``; a gaussian may carry its own width, ``gaussian:s=0.5`` or ``gaussian:s=Y/X``.

    Args:
        text: as typed.
        place: the one place of all of them.
        size: (height, width) of the glimpses.
        s: the width of a gaussian that carries none.
        padding: of all of them; by default the place's.
        name: the option, for errors.
        known: what it takes, for errors.

    Raises:
        UsageError: an unknown method, one named twice, a width that is none, a padding that the method does not have.
    """
    labels = [part.strip() for part in text.split(",")]
    twice = {label for label in labels if labels.count(label) > 1}
    if twice:
        raise UsageError(f"{name} names {' and '.join(sorted(twice))} twice")
    for label in labels:
        if label.partition(":")[0] not in get_args(Method):
            hint = _WIDTHS if label[:1].isdigit() else f"{name} {known}"  # gaussian:s=0,5
            raise ParameterError(f"{name}: unknown method {label.partition(':')[0]!a}", hint=hint)
    base = Look(place, size, "hard", padding)
    return tuple(Contender(label, _look(label, base, s, name)) for label in labels)


def _look(label: str, base: Look, s: Pair | None, name: str) -> Look:
    method, colon, setting = label.partition(":")
    if not colon:
        return replace(base, method=cast("Method", method), s=s if method == "gaussian" else None)
    key, _, value = setting.partition("=")
    if method != "gaussian" or key != "s":
        raise ParameterError(f"{name}: {label!a} has no setting {key!a}", hint=_WIDTHS)
    if value.count("/") > 1:
        raise ParameterError(f"{name}: {label!a} has more than a width for each axis", hint=_WIDTHS)
    return replace(base, method="gaussian", s=parse_width(value.replace("/", ","), f"{name} gaussian:s"))


def parse_limit(text: str) -> Limit:
    """``mae=0.01``, ``psnr=40``.

    Raises:
        UsageError: an unknown metric, or a value that is no number.
    """
    metric, equals, value = text.partition("=")
    if not equals or metric not in METRICS:
        raise UsageError(
            f"--fail-above takes METRIC=VALUE with {', '.join(METRICS)}, got {text!a}", hint="--fail-above mae=0.01"
        )
    return Limit(metric, parse_number(value, f"--fail-above {metric}"))
