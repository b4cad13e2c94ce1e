"""Train a network that finds the shape in a picture and says which it is, from the names of the shapes alone.

A small convolutional network looks at the whole picture and says where to look closer; the glimpse is all that the
classifier sees. Nobody tells it where the shapes are: the error of the classifier goes through the glimpse into the
place. Takes half a minute on two cores: python tests/examples/train_localiser.py
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from glimpse_cli.torch import box_glimpse

H, W = 60, 76  # of the pictures; a shape is 13 to 25 pixels wide
SHAPES = ("disc", "ring", "square", "cross")


class Localiser(nn.Module):
    """A picture -> a box -> a glimpse of 16 x 16 -> a shape."""

    def __init__(self) -> None:
        super().__init__()
        self.heat = nn.Sequential(
            nn.Conv2d(1, 12, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(12, 16, 5, stride=2, padding=2), nn.ReLU()
        )
        self.where = nn.Conv2d(16, 1, 3, padding=1)
        self.side = nn.Linear(16, 1)
        self.what = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, len(SHAPES))),
        )

    def boxes(self, images: Tensor) -> Tensor:
        """Boxes (B, 4) around the mean of a map of where something is."""
        features = self.heat(images)
        share = self.where(features).flatten(1).softmax(1).view(-1, 1, *features.shape[2:])
        y = 0.5 + 4 * (share.sum(3) * torch.arange(features.shape[2])).sum(2)  # a cell is four pixels
        x = 0.5 + 4 * (share.sum(2) * torch.arange(features.shape[3])).sum(2)
        half = 9 * torch.exp(0.4 * self.side((features * share).sum((2, 3))).tanh())
        return torch.cat([x - half, y - half, x + half, y + half], dim=1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B, 4) of the shapes, and the boxes looked at."""
        boxes = self.boxes(images)
        return self.what(box_glimpse(images, boxes, (16, 16))), boxes


def pictures(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images (count, 1, H, W) of one shape each on a restless ground, the shapes, and their boxes (count, 4)."""
    side = 13 + 12 * torch.rand(count, 1, 1)
    cy, cx = (side / 2 + torch.rand(count, 1, 1) * (N - side) for N in (H, W))
    y, x = torch.arange(H).view(-1, 1) + 0.5 - cy, torch.arange(W) + 0.5 - cx
    r, edge, arm = side / 2, torch.maximum(y.abs(), x.abs()), torch.minimum(y.abs(), x.abs())
    ring = (torch.hypot(y, x) - 0.75 * r).abs() - 0.25 * r
    cross = torch.minimum(r - edge, 0.25 * r - arm)
    inside = torch.stack([r - torch.hypot(y, x), -ring, 0.85 * r - edge, cross], dim=1)
    shape = torch.randint(len(SHAPES), (count,))
    coverage = (inside[torch.arange(count), shape] + 0.5).clamp(0, 1)
    ground = functional.interpolate(torch.rand(count, 1, 8, 10), (H, W), mode="bilinear") * 0.5
    images = ground + coverage[:, None] * (0.35 + 0.3 * torch.rand(count, 1, 1, 1)) + 0.05 * torch.randn(count, 1, H, W)
    boxes = torch.cat([cx - r, cy - r, cx + r, cy + r], dim=1)[..., 0]
    return images, shape, boxes


def report(network: Localiser) -> tuple[float, float]:
    """The share of 500 new pictures named right, and of shapes whose middle is in the box."""
    images, shape, hidden = pictures(500)
    with torch.no_grad():
        scores, boxes = network(images)
    middle = (hidden[:, :2] + hidden[:, 2:]) / 2
    seen = ((boxes[:, :2] < middle) & (middle < boxes[:, 2:])).all(1)
    return float((scores.argmax(1) == shape).float().mean()), float(seen.float().mean())


def train(steps: int = 600) -> Localiser:
    """The network after so many steps of 32 pictures."""
    network = Localiser()
    adam = torch.optim.Adam(network.parameters())
    rate = torch.optim.lr_scheduler.OneCycleLR(adam, 4.5e-3, total_steps=steps)
    for step in range(steps):
        images, shape, _ = pictures(32)
        scores, _ = network(images)
        loss = functional.cross_entropy(scores, shape)
        adam.zero_grad()
        loss.backward()
        adam.step()
        rate.step()
        if step % 100 == 0:
            named, found = report(network)
            print(f"step {step:4}: {named:4.0%} named right, {found:4.0%} looked at")  # noqa: T201 - who waits wants to see
    return network


if __name__ == "__main__":
    torch.manual_seed(0)
    named, found = report(train())
    print(f"in the end: {named:4.0%} named right, {found:4.0%} looked at")  # noqa: T201 - likewise
