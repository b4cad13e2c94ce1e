"""Arrays become pictures for people: what a glimpse attended to, many glimpses on a sheet, several methods on a panel.

Every picture is a uint8 (h, w, 3) array in sRGB; reading and writing files is the business of `images`.
``masks`` draws on ``outlines``; ``sheets`` and ``panels`` are set on ``paper``, and only they need a typeface:
they are loaded when first asked for, so that who crops does not pay for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from glimpse_cli.draw.masks import PREVIEW, mask_figure, outlined

if TYPE_CHECKING:
    from glimpse_cli.draw.panels import PanelRow, Window, panel, zoomed
    from glimpse_cli.draw.paper import rgb
    from glimpse_cli.draw.sheets import contact_sheet

__all__ = [
    "PREVIEW",
    "PanelRow",
    "Window",
    "contact_sheet",
    "mask_figure",
    "outlined",
    "panel",
    "rgb",
    "zoomed",
]

_HOMES = {
    **dict.fromkeys(("PanelRow", "Window", "panel", "zoomed"), "panels"),
    "contact_sheet": "sheets",
    "rgb": "paper",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
