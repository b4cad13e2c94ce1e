"""The glimpses as layers: the size is fixed, where to look comes with each batch."""

from torch import Tensor, nn

from glimpse_cli.kernels import require_padding
from glimpse_cli.torch._arguments import Parameter, require_eps, require_size
from glimpse_cli.torch._functional import gaussian_glimpse, stn_glimpse
from glimpse_cli.torch._spellings import Pair


class GaussianGlimpse(nn.Module):
    """`gaussian_glimpse` of a fixed size: ``forward(images, u, s, d)``.

    Args:
        size: (height, width) of the glimpse.
        eps: 0, a softmax, or 1e-8, the post.
    """

    def __init__(self, size: Pair, eps: float = 0.0) -> None:
        super().__init__()
        require_size(size)
        require_eps(eps)
        self.size = size
        self.eps = eps

    def forward(self, images: Tensor, u: Parameter, s: Parameter, d: Parameter) -> Tensor:
        """Glimpses of images (B, C, H, W)."""
        return gaussian_glimpse(images, u, s, d, self.size, self.eps)

    def extra_repr(self) -> str:
        """What the layer was made with."""
        return f"size={self.size}, eps={self.eps:g}"


class SpatialTransformer(nn.Module):
    """`stn_glimpse` of a fixed size: ``forward(images, scale, shift)``.

    Args:
        size: (height, width) of the glimpse.
        padding: outside: "zeros" (the post's), "border" or "reflection".
    """

    def __init__(self, size: Pair, padding: str = "zeros") -> None:
        super().__init__()
        require_size(size)
        require_padding(padding)
        self.size = size
        self.padding = padding

    def forward(self, images: Tensor, scale: Parameter, shift: Parameter) -> Tensor:
        """Glimpses of images (B, C, H, W)."""
        return stn_glimpse(images, scale, shift, self.size, self.padding)

    def extra_repr(self) -> str:
        """What the layer was made with."""
        return f"size={self.size}, padding={self.padding!r}"
