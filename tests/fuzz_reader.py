"""Feed mutated pictures to the reader until it raises what it should not: seeded, and resumable by number.

    python tests/fuzz_reader.py --minutes 2 --start 0 [--seeds FOLDER]

Mutant n is always the same bytes. The last line tells the number to go on from. A mutant that fails is written to
``fuzz-<n>.bin`` in the working directory and named; one that kills the process is the last number in ``--log``.
"""

# ruff: noqa: T201 - a script prints

import argparse
import io
import random
import resource
import sys
import time
import traceback
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from glimpse_cli import images
from glimpse_cli.errors import InputError, PictureError

SLOW = 2.0  # seconds of CPU for a picture that small


def seeds(folder):
    """Small pictures of every format and kind, made here, and those of a folder up to 20 kB."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (9, 13, 3), np.uint8)).resize((26, 18))
    rgba, grey, palette, bits = rgb.convert("RGBA"), rgb.convert("L"), rgb.quantize(16), rgb.convert("1")
    deep = rng.integers(0, 65536, (9, 13, 4), np.uint16)
    grey16, exif = Image.fromarray(deep[..., 0]), Image.Exif()
    exif[274] = 6
    frames = {"save_all": True, "append_images": [rgba.rotate(90), rgba]}
    pictures = [
        *((image, "PNG", {"exif": exif}) for image in (rgb, rgba, grey, palette, grey.convert("LA"), bits, grey16)),
        *((rgb, "JPEG", o) for o in ({}, {"progressive": True}, {"restart_marker_rows": 1}, {"exif": exif})),
        (rgb.convert("CMYK"), "JPEG", {}),
        *((rgb, "TIFF", {"compression": c}) for c in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")),
        (bits, "TIFF", {"compression": "group4"}),
        *((image, "TIFF", {}) for image in (palette, *map(grey.convert, "FI"), rgb.convert("LAB"))),
        *((palette if kind == "GIF" else rgba, kind, frames) for kind in ("GIF", "PNG", "WEBP", "TIFF")),
        (rgba, "WEBP", {"lossless": True}),
        (rgb, "WEBP", {}),
        (rgb, "AVIF", {}),
        (rgb, "MPO", {"save_all": True, "append_images": [rgb]}),
        *((image, "BMP", {}) for image in (rgb, palette, bits)),
        *((image, "PPM", {}) for image in (rgb, grey, bits, grey16)),
    ]
    made = [saved(*picture) for picture in pictures]
    made += [images.encode(deep[..., :c] / 65535, format=f, depth=16) for c in (2, 3, 4) for f in ("png", "tiff")]
    found = sorted(path for path in Path(folder).rglob("*") if path.is_file()) if folder else []
    return made + [path.read_bytes() for path in found if path.stat().st_size <= 20_000]


def saved(image, kind, options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def mutant(number, pool):
    """The bytes of mutant ``number``: a seed with one to eight small injuries, or spliced with another."""
    rng = random.Random(number)  # noqa: S311 - the same mutant every time, not a secret
    data = bytearray(rng.choice(pool))
    if rng.random() < 0.05:
        other = rng.choice(pool)
        data = data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        injure(data, rng)
    if data[:4] == b"\x89PNG" and rng.random() < 0.8:
        mend(data)
    return bytes(data)


def injure(data, rng):
    at = int(len(data) * rng.random() ** rng.choice((1, 3)))  # headers more often
    kind = rng.randrange(6)
    if kind == 0 and at < len(data):
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 1 and at < len(data):
        data[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
    elif kind == 2:
        data[at : at + 4] = rng.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, rng.getrandbits(32))).to_bytes(4, "big")
    elif kind == 3:
        del data[at : at + rng.choice((1, 2, 4, 100, len(data)))]
    elif kind == 4:
        data[at:at] = rng.randbytes(rng.choice((1, 2, 4, 100)))
    else:
        data[at:at] = data[at : at + rng.choice((1, 8, 64))]


def mend(data):
    """Make a PNG's checksums right again, so that the injury reaches the decoder."""
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(data):
            return
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4


def outcome(data):
    """``ok`` or a reason; whatever else the reader raises comes through."""
    try:
        picture = images.decode(data, name="mutant", max_pixels=4_000_000)
        height, width = picture.size
        picture.window(range(height // 2, height), range(width // 3, width))
        picture.preview(32)
    except PictureError as error:
        if not str(error).isprintable():
            raise ValueError("an error that is not printable") from error
        cause = error.__cause__
        if cause and "glimpse_cli" in traceback.extract_tb(cause.__traceback__)[-1].filename:
            raise TypeError("our own code raised what Pillow may raise") from cause
        return error.reason.value
    except InputError:
        return "other"
    return "ok"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--count", type=int, default=2**62)
    parser.add_argument("--seeds", help="a folder of pictures to mutate beside the made ones")
    parser.add_argument("--log", help="a file that always holds the number at work")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
    pool, counts, bad = seeds(options.seeds), Counter(), 0
    number, until = options.start, time.monotonic() + options.minutes * 60
    while time.monotonic() < until and number < options.start + options.count:
        if options.log:
            Path(options.log).write_text(str(number))
        data, began = mutant(number, pool), time.process_time()
        try:
            counts[outcome(data)] += 1
        except KeyboardInterrupt:
            break
        except BaseException:  # noqa: BLE001 - whatever comes through is what is looked for
            bad += 1
            Path(f"fuzz-{number}.bin").write_bytes(data)
            print(f"mutant {number}:", traceback.format_exc(), sep="\n")
        if time.process_time() - began > SLOW:
            print(f"mutant {number}: {time.process_time() - began:.1f} s")
            Path(f"fuzz-{number}.bin").write_bytes(data)
        number += 1
    print(f"{number - options.start} mutants of {len(pool)} pictures, {bad} bad; {dict(counts)}")
    print(f"go on with --start {number}")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
