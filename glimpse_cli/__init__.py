"""glimpse: fixed-size, sub-pixel, differentiable crops by Gaussian attention or a spatial transformer."""
