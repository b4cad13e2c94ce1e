"""Pictures in, right or refused; glimpses out, rounded once. The only user of Pillow's open and save.

In:  ``strict``, ``tiff`` and ``bmp`` read the bytes, ``loading`` decodes them once behind every guard, ``storage`` and
``colour`` make numbers of a window, and ``picture`` turns it upright. Out: ``saving``.
"""

from glimpse_cli.images.picture import MAX_PIXELS, Picture, decode
from glimpse_cli.images.saving import (
    DEPTHS,
    LONGEST,
    encode,
    encode_picture,
    over_white,
    require_sides,
    rounded,
)

__all__ = [
    "DEPTHS",
    "LONGEST",
    "MAX_PIXELS",
    "Picture",
    "decode",
    "encode",
    "encode_picture",
    "over_white",
    "require_sides",
    "rounded",
]
