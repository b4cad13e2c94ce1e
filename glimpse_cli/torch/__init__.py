"""glimpse for training: batches of images, gradients for the images and for where one looks.

Needs torch: ``pip install 'glimpse-cli[torch]'``. Images are (B, C, H, W); see `glimpse_cli.torch._functional` for what
holds of every function.
"""

from glimpse_cli.torch._extract import extract
from glimpse_cli.torch._functional import (
    box_glimpse,
    default_width,
    gaussian_glimpse,
    gaussian_mask,
    glimpse_mask,
    hard_glimpse,
    stn_glimpse,
)
from glimpse_cli.torch._modules import GaussianGlimpse, SpatialTransformer
from glimpse_cli.torch._spellings import box_to_comb, comb_to_box, comb_to_scale_shift, scale_shift_to_comb

__all__ = [
    "GaussianGlimpse",
    "SpatialTransformer",
    "box_glimpse",
    "box_to_comb",
    "comb_to_box",
    "comb_to_scale_shift",
    "default_width",
    "extract",
    "gaussian_glimpse",
    "gaussian_mask",
    "glimpse_mask",
    "hard_glimpse",
    "scale_shift_to_comb",
    "stn_glimpse",
]
