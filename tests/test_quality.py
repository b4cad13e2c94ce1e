"""What a person would see: against Pillow, on the sample photographs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from glimpse_cli.combs import Box
from glimpse_cli.glimpse import Spec, extract

SAMPLES = sorted(
    path for path in (Path(__file__).parent.parent / "sample_images").iterdir() if path.suffix in {".jpg", ".png"}
)


def photograph(path):
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def psnr(ours, theirs):
    return -10 * np.log10(np.mean((ours - np.asarray(theirs, float) / 255) ** 2))


def test_the_default_width_is_lanczos_when_reducing():
    found = {}
    for path in SAMPLES:
        image = photograph(path)
        W, H = image.size
        for d in (2, 3, 4, 5.5, 8):
            w, h = int(W / d), int(H / d)
            box = (0.5, 0.25, 0.5 + w * d * 0.98, 0.25 + h * d * 0.98)
            lanczos = image.resize((w, h), Image.Resampling.LANCZOS, box=box)
            found[path.name, d] = psnr(extract(np.asarray(image), Spec.from_box(Box(*box), (h, w))), lanczos)
    assert np.mean(list(found.values())) >= 37, found
    for path in SAMPLES:
        assert np.mean([value for (name, _), value in found.items() if name == path.name]) >= 33, found


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_enlarging_by_stn_is_pillows_bilinear(path):
    image = photograph(path)
    box = (60.25, 41.5, 111.75, 90)  # inside, 51.5 x 48.5
    pillow = np.asarray(image.resize((150, 200), Image.Resampling.BILINEAR, box=box), float)
    ours = extract(np.asarray(image), Spec.from_box(Box(*box), (200, 150), "stn")) * 255
    assert np.abs(ours - pillow).max() <= 1
