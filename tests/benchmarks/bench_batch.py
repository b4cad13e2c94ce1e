"""`glimpse batch` over a folder against what people use today: ``python tests/benchmarks/bench_batch.py``.

2000 VGA JPEGs, a box of each to a 224 x 224 PNG, two workers. Wall and CPU seconds of whole commands, workers and all,
every command in turn, medians; a ratio below 1 means that we are faster. On a machine that others use as well, two
workers do not get two cores: half our CPU against the peer's is then the fairer ratio, and is told too. Then what a
run costs beside the pictures: its workers against the same work in a plain loop, a plan and a table of 100 000 rows,
and memory by the size of the folder. A peer that is not installed is left out.
"""

import argparse
import ctypes
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
BOX = (100, 80, 400, 380)

LOOP = """
import os, sys
from PIL import Image
os.makedirs("loop", exist_ok=True)
for name in sorted(os.listdir("photos")):
    with Image.open("photos/" + name) as image:
        cut = image.resize((224, 224), Image.Resampling.LANCZOS, box={box})
        cut.save("loop/" + name[:-4] + ".png"{level})
"""
INSIDE = """
import os
from glimpse_cli.batch import Settings, plan, worker
from glimpse_cli.items import Reading, Writing
from glimpse_cli.places import BoxPlace, Look
wanted = plan(Settings(("photos",), "inside", Look(BoxPlace({box}), (224, 224))))
os.makedirs("inside")
ways = worker.Ways("inside", Reading(), Writing(), "files")
worker.do([worker.Errand(n, item) for n, item in enumerate(wanted.items)], ways)
"""
ENDS = """
import os
from glimpse_cli import files, images
os.makedirs("ends")
for name in sorted(os.listdir("photos")):
    picture = images.decode(files.read_bytes("photos/" + name), name=name)
    cut = picture.window(range(80, 304), range(100, 324)).astype("float32") / 255
    files.write_whole("ends/" + name[:-4] + ".png", images.encode(cut, format="png"))
"""
PLAN = """
import resource, time
from glimpse_cli import batch, tables
from glimpse_cli.batch import plan
from glimpse_cli.places import BoxPlace, Look
def told(what, began, before):
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 100_000
    print(f"{{what:<46}} {{time.perf_counter() - began:6.2f}} s {{grown:8.0f}} B a picture")
before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
plan(batch.Settings(("links",), "out", Look(BoxPlace((1, 2, 9, 9)), (7, 5))))
told("the plan of a folder of 100 000", began, before)
lines = (f"{{n:06}}.png,{{n % 7}},2.5,{{n % 7 + 9}},30,cat\\n" for n in range(100_000))
data, defaults = ("image,x0,y0,x1,y1,label\\n" + "".join(lines)).encode(), tables.Defaults((7, 5))
before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
rows = tables.parse(data, "t.csv", ".csv", defaults)
plan(batch.Settings(("links",), "out", rows=rows, base="links"))
told("a table of 100 000 rows, read and planned", began, before)
"""
GROWTH = """
import resource, sys
from glimpse_cli import batch
from glimpse_cli.places import BoxPlace, Look
if __name__ == "__main__":
    batch.run(batch.Settings((sys.argv[1],), "out-" + sys.argv[1], Look(BoxPlace((1, 2, 9, 9)), (7, 5)), jobs=2))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def commands():
    box = ",".join(map(str, BOX))
    x0, y0, x1, y1 = BOX
    found = {
        "glimpse batch --jobs 2": glimpse("batch", "photos", "-o", "ours", "--box", box, "--size", "224", "-q"),
        "a Pillow loop, default level": python(LOOP.format(box=BOX, level="")),
        "a Pillow loop, level 1": python(LOOP.format(box=BOX, level=", compress_level=1")),
        "the same work in a plain loop": python(INSIDE.format(box=BOX)),
        "reading and writing alone, in a plain loop": python(ENDS),
    }
    if shutil.which("mogrify"):
        crop = f"{x1 - x0}x{y1 - y0}+{x0}+{y0}"
        line = (
            f"mkdir mogrified && mogrify -path mogrified -crop {crop} +repage -resize 224x224 -format png photos/*.jpg"
        )
        found["mogrify"] = ["sh", "-c", line]
    return found


def glimpse(*arguments):
    return [sys.executable, "-m", "glimpse_cli", *arguments, "--jobs", "2"]


def python(text):
    return [sys.executable, "-c", text]


def make_photos(count):
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    Path("photos").mkdir()
    for n in range(count):
        blobs = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        soft = np.asarray(blobs.resize((640, 480), Image.Resampling.BICUBIC)).astype(np.int16)
        grain = rng.integers(-6, 7, (480, 640, 1), dtype=np.int16)
        Image.fromarray((soft + grain).clip(0, 255).astype(np.uint8)).save(f"photos/{n:05}.jpg", quality=90)


def make_links(folder, count):
    from PIL import Image

    Path(folder).mkdir()
    for n in range(count):
        if n % 10_000 == 0:  # a file has so many names at most
            whole = Path(folder, f"{n:06}.png")
            Image.new("RGB", (31, 23), (n // 10_000, 99, 200)).save(whole)
        else:
            os.link(whole, Path(folder, f"{n:06}.png"))


def seconds(command):
    """Wall seconds, and CPU seconds of the command and all it started."""
    for folder in ("ours", "loop", "inside", "ends", "mogrified"):
        shutil.rmtree(folder, ignore_errors=True)
    used, began = children(), time.perf_counter()
    subprocess.run(command, check=True)
    wall = time.perf_counter() - began
    with suppress(ChildProcessError):  # the server that workers are forked from outlives the command by a moment
        while True:
            os.wait()
    return wall, children() - used


def children():
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plan-only", action="store_true")
    asked = parser.parse_args()
    os.environ.update({"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])})
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)  # what a command leaves behind is ours to wait for
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        if not asked.plan_only:
            show_speed(asked)
        make_links("links", 100_000)
        subprocess.run(python(PLAN.format()), check=True)
        show_growth()
        os.chdir("/")


def show_speed(asked):
    make_photos(asked.count)
    found = commands()
    taken = {name: [] for name in found}
    for _ in range(asked.rounds):
        for name, command in found.items():
            taken[name].append(seconds(command))
    print(f"{asked.count} VGA JPEGs -> 224 x 224 PNG, median of {asked.rounds}")
    print(f"{'':<46}   wall     CPU   ours / this: wall, half our CPU / its")
    middles = {
        name: [statistics.median(column) for column in zip(*times, strict=True)] for name, times in taken.items()
    }
    ours, spent = middles["glimpse batch --jobs 2"]
    for name, (wall, cpu) in middles.items():
        print(f"{name:<46} {wall:6.2f}  {cpu:6.2f} {ours / wall:18.2f} {spent / 2 / cpu:9.2f}")


def show_growth():
    peaks = {}
    for count in (1000, 11_000):
        make_links(f"{count}", count)
        Path("growth.py").write_text(GROWTH)
        done = subprocess.run([sys.executable, "growth.py", str(count)], check=True, capture_output=True, text=True)
        peaks[count] = int(done.stdout)
    grown = (peaks[11_000] - peaks[1000]) / 10_000
    print(f"a run's memory from 1000 to 11 000 pictures{grown:>23.0f} B a picture")


if __name__ == "__main__":
    main()
