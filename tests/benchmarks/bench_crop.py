"""`glimpse crop` as a whole process against what people use today: ``python tests/benchmarks/bench_crop.py``.

A 12 MP JPEG, the middle 30 % of it, a 224 x 224 PNG. CPU seconds and peak memory of each process as the system
accounts for them, every command in turn, medians; a ratio below 1 means that we are cheaper. A peer that is not
installed is left out.
"""

import argparse
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

BOX = (1000, 800, 2200, 1700)

# Made by a process of its own: a child's peak memory counts what its parent held when it was started.
PHOTO = """
import numpy
from PIL import Image
rng = numpy.random.default_rng(0)
blobs = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=numpy.uint8))
soft = blobs.resize((4000, 3000), Image.Resampling.BICUBIC)
grain = rng.integers(-8, 9, (3000, 4000, 1), dtype=numpy.int16)
grainy = (numpy.asarray(soft).astype(numpy.int16) + grain).clip(0, 255).astype(numpy.uint8)
Image.fromarray(grainy).save("photo.jpg", quality=90)
"""
PILLOW = """
from PIL import Image
Image.open("photo.jpg").convert("RGB").resize((224, 224), Image.Resampling.BILINEAR, box={box}).save("pillow.png")
"""
KORNIA = """
import numpy, torch, kornia
from PIL import Image
torch.set_num_threads(1)
image = torch.from_numpy(numpy.array(Image.open("photo.jpg"))).permute(2, 0, 1)[None].float() / 255
x0, y0, x1, y1 = {box}
box = torch.tensor([[[x0, y0], [x1 - 1, y0], [x1 - 1, y1 - 1], [x0, y1 - 1]]], dtype=torch.float32)
cut = kornia.geometry.transform.crop_and_resize(image, box, (224, 224))[0].permute(1, 2, 0)
Image.fromarray((cut * 255).round().clamp(0, 255).byte().numpy()).save("kornia.png")
"""
POST = """
import numpy, torch
from PIL import Image
torch.set_num_threads(1)
image = torch.from_numpy(numpy.array(Image.open("photo.jpg"))).permute(2, 0, 1).float() / 255
x0, y0, x1, y1 = {box}
def mask(low, high, N):
    d = (high - low) / 224
    u = low + d / 2 - 0.5 + d * torch.arange(224)[:, None]
    A = torch.exp(-(((torch.arange(N) - u) / (0.35 * d)) ** 2) / 2)
    return A / (A.sum(1, keepdim=True) + 1e-8)
cut = (mask(y0, y1, image.shape[1]) @ image @ mask(x0, x1, image.shape[2]).T).permute(1, 2, 0)
Image.fromarray((cut * 255).round().clamp(0, 255).byte().numpy()).save("post.png")
"""


def commands():
    crop = [sys.executable, "-m", "glimpse_cli", "crop", "photo.jpg", "--box", ",".join(map(str, BOX))]
    crop += ["--size", "224", "--force", "-o", "ours.png"]
    found = {"glimpse crop": [*crop, "--no-mask"], "with the mask": crop}
    found["Pillow, one line"] = [sys.executable, "-c", PILLOW.format(box=BOX)]
    for name in ("magick", "convert"):
        path = shutil.which(name)
        if (
            path
            and "ImageMagick" in subprocess.run([path, "-version"], capture_output=True, text=True, check=False).stdout
        ):
            x0, y0, x1, y1 = BOX
            cut = ["-crop", f"{x1 - x0}x{y1 - y0}+{x0}+{y0}", "+repage", "-resize", "224x224!", "magick.png"]
            found["ImageMagick"] = [path, "photo.jpg", *cut]
            break
    if importlib.util.find_spec("kornia"):
        found["kornia"] = [sys.executable, "-c", KORNIA.format(box=BOX)]
    if importlib.util.find_spec("torch"):
        found["the post in torch"] = [sys.executable, "-c", POST.format(box=BOX)]
    return found


def cost(command):
    """CPU seconds and peak MiB of one process."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        subprocess.run([sys.executable, "-c", PHOTO], check=True)
        found = {name: [] for name in commands()}
        for round_ in range(repeats + 1):
            for name, command in commands().items():
                spent = cost(command)
                if round_:  # the first warms up
                    found[name].append(spent)
        os.chdir("/")
    seconds, memory = ({name: statistics.median(c[k] for c in costs) for name, costs in found.items()} for k in (0, 1))
    ours = "glimpse crop"
    print(f"{'process':20s}{'CPU s':>8s}{'MiB':>8s}{'ours / it':>12s}{'memory':>8s}")
    for name in found:
        cpu, peak = seconds[ours] / seconds[name], memory[ours] / memory[name]
        print(f"{name:20s}{seconds[name]:8.3f}{memory[name]:8.0f}{cpu:12.2f}{peak:8.2f}")
    print(f"with the mask / without: {seconds['with the mask'] / seconds[ours]:.2f}")


if __name__ == "__main__":
    main()
