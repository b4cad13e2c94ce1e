"""A picture comes in exactly as a person would see it, or is refused with its reason; a glimpse goes out whole."""

import io
import json
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile

from glimpse_cli import images
from glimpse_cli.draw.paper import UNKNOWN
from glimpse_cli.errors import InputError, ParameterError, PictureError, Reason
from glimpse_cli.images import strict
from pictures import plain_png as png

H, W = 23, 31
RNG = np.random.default_rng(5)
GREY = RNG.integers(0, 256, (H, W), np.uint8)
RGB = RNG.integers(0, 256, (H, W, 3), np.uint8)
RGBA = RNG.integers(0, 256, (H, W, 4), np.uint8)
GREY16 = RNG.integers(0, 65536, (H, W), np.uint16)
RGBA16 = RNG.integers(0, 65536, (H, W, 4), np.uint16)
SMOOTH = np.asarray(Image.fromarray(RGB).resize((62, 46), Image.Resampling.BICUBIC))


def saved(pixels, kind, mode=None, **options):
    out = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(out, kind, **options)
    return out.getvalue()


def whole(data, **options):
    picture = images.decode(data, **options)
    height, width = picture.size
    window = picture.window(range(height), range(width))
    assert window.flags.c_contiguous
    assert window.shape == ((height, width) if picture.channels == 1 else (height, width, picture.channels))
    assert window.dtype == {255.0: np.uint8, 65535.0: np.uint16, 1.0: np.float32}[picture.peak]
    assert picture.alpha == (picture.channels in {2, 4})
    return picture, window


def refused(data, reason, match=None, **options):
    with pytest.raises(PictureError, match=match) as caught:
        images.decode(data, name="x", **options)
    assert caught.value.reason is reason, caught.value
    text = str(caught.value)
    assert text.isprintable()
    assert "0x" not in text
    assert pickle.loads(pickle.dumps(caught.value)).reason is reason  # noqa: S301 - it was made in this line


def tiff(strip, tags, order="<", base=0):
    """A TIFF written plainly: one strip, whose tags are given; None leaves one out; ``base``: what will lie ahead."""
    height, width = H, W
    entries = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 0, 277: 1, 278: height, 279: len(strip), **tags}
    entries = {tag: value for tag, value in entries.items() if value is not None}
    packed = {tag: struct.pack(f"{order}{len(v)}H", *v) for tag, v in entries.items() if isinstance(v, tuple)}
    at = base + 8 + 2 + 12 * len(entries) + 4
    start = at + sum(len(v) for v in packed.values() if len(v) > 4)
    if entries.get(273) == 0:
        entries[273] = start
    for tag in {273, 324} & packed.keys():  # several strips, or tiles: offsets were given from the start of the first
        packed[tag] = struct.pack(f"{order}{len(tags[tag])}H", *(start + offset for offset in tags[tag]))
    table = lists = b""
    for tag, value in sorted(entries.items()):
        if tag not in packed:
            table += struct.pack(f"{order}HHII", tag, 4, 1, value)
            continue
        here, count = packed[tag], len(packed[tag]) // 2
        if len(here) > 4:
            lists, here = lists + here, struct.pack(f"{order}I", at + len(lists))
        table += struct.pack(f"{order}HHI4s", tag, 3, count, here)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", base + 8, len(entries))
    return head + table + bytes(4) + lists + strip


# --- modes: what a person sees --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "PPM", "WEBP", "GIF"])
def test_rgb_and_grey_come_back_as_they_were_from_lossless_formats(kind):
    if kind != "GIF":
        picture, window = whole(saved(RGB, kind, **({"lossless": True} if kind == "WEBP" else {})))
        assert picture.channels == 3
        assert (window == RGB).all()
        assert picture.warnings == ()  # 8 bits were 8 bits
    if kind != "WEBP":
        picture, window = whole(saved(GREY, kind))
        assert (window == (GREY if picture.channels == 1 else GREY[..., None])).all()
        assert picture.format == kind


def test_bilevel_pictures_are_black_and_white():
    bits = RNG.random((H, W)) < 0.3
    for kind in ("PNG", "TIFF", "BMP", "PPM"):
        picture, window = whole(saved(Image.fromarray(bits), kind))
        assert picture.channels == 1
        assert (window == bits * 255).all()


def test_alpha_stays_beside_unmultiplied_colour():
    for kind in ("PNG", "TIFF", "WEBP"):
        options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        picture, window = whole(saved(RGBA, kind, **options))
        assert picture.channels == 4
        assert (window == RGBA).all()
    picture, window = whole(saved(RGBA[..., :2], "PNG"))
    assert picture.channels == 2
    assert (window == RGBA[..., :2]).all()


def test_a_palette_is_looked_up_and_its_transparency_kept():
    palette = RNG.integers(0, 256, (16, 3), np.uint8)
    alphas = RNG.integers(0, 256, 16, np.uint8)
    index = RNG.integers(0, 16, (H, W), np.uint8)
    image = Image.fromarray(index)
    image.putpalette(palette.tobytes())
    assert (whole(saved(image, "PNG"))[1] == palette[index]).all()
    want = np.dstack([palette[index], alphas[index]])
    assert (whole(saved(image, "PNG", transparency=alphas.tobytes()))[1] == want).all()
    for kind in ("PNG", "GIF"):
        picture, window = whole(saved(image, kind, transparency=7))
        assert picture.channels == 4
        assert (window[..., 3] == np.where(index == 7, 0, 255)).all()
        assert (window[index != 7][:, :3] == palette[index[index != 7]]).all()


def test_a_palette_of_a_tiff_with_alpha_is_looked_up():
    palette = RNG.integers(0, 256, (256, 3), np.uint8)
    pixels = RNG.integers(0, 256, (H, W, 2), np.uint8)
    colours = tuple(int(v) * 257 for v in palette.T.ravel())
    data = tiff(pixels.tobytes(), {258: (8, 8), 262: 3, 277: 2, 320: colours, 338: 2})
    assert (whole(data)[1] == np.dstack([palette[pixels[..., 0]], pixels[..., 1]])).all()


def test_a_transparent_colour_becomes_alpha_at_8_and_at_16_bits():
    for depth, grey, colour in ((8, GREY, RGB), (16, GREY16, RGBA16[..., :3])):
        key = struct.pack(">H", grey[4, 9])
        picture, window = whole(png(grey, depth, 0, before=[(b"tRNS", key)]))
        assert picture.channels == 2
        assert (window[..., 0] == grey).all()
        assert (window[..., 1] == np.where(grey == grey[4, 9], 0, picture.peak)).all()
        key = struct.pack(">HHH", *colour[3, 7])
        picture, window = whole(png(colour, depth, 2, before=[(b"tRNS", key)]))
        assert picture.channels == 4
        assert (window[..., :3] == colour).all()
        assert (window[..., 3] == np.where((colour == colour[3, 7]).all(2), 0, picture.peak)).all()


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_a_transparent_grey_of_few_bits_is_found_among_the_8_bits_it_was_spread_to(depth):
    values = RNG.integers(0, 2**depth, (H, W)).astype(np.uint8)
    bits = (values[..., None] >> np.arange(depth - 1, -1, -1) & 1).astype(np.uint8).reshape(H, -1)
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in np.packbits(bits, axis=1)))
    window = whole(png(values, depth, 0, before=[(b"tRNS", b"\0\1")], data=rows))[1]
    assert (window[..., 0] == values * (255 // (2**depth - 1))).all()
    assert (window[..., 1] == np.where(values == 1, 0, 255)).all()


def test_a_transparent_colour_goes_with_a_profile_and_shows_in_the_preview():
    pixels = np.minimum(RGBA16[..., :3], 65000)
    pixels[5:15, 5:20] = 65500
    clear = (b"tRNS", struct.pack(">HHH", 65500, 65500, 65500))
    picture, window = whole(png(pixels, 16, 2, before=[(b"iCCP", b"p\0\0" + zlib.compress(LINEAR_RGB)), clear]))
    assert (window[..., 3] == np.where((pixels == 65500).all(2), 0, 255)).all()
    assert (picture.preview(99)[5:15, 5:20] == 128).all()
    assert (images.decode(png(pixels, 16, 2, before=[clear])).preview(99)[5:15, 5:20] == 128).all()
    grey = images.decode(png(pixels[..., 1], 16, 0, before=[(b"tRNS", struct.pack(">H", 65500))])).preview(99)
    assert (grey[..., 0] == np.where(pixels[..., 1] == 65500, 128, pixels[..., 1] >> 8)).all()


def ink(cmyk):
    """Inks, 255 is full -> RGB, by the plain formula."""
    c, m, y, k = np.moveaxis(cmyk.astype(float), -1, 0)
    return np.stack([(255 - part) * (255 - k) / 255 for part in (c, m, y)], -1)


def test_cmyk_is_read_with_and_without_adobes_inversion():
    inks = np.asarray(Image.fromarray(RGBA).resize((64, 48), Image.Resampling.BICUBIC).convert("RGBA"))
    image = Image.frombytes("CMYK", (64, 48), inks.tobytes())
    assert np.abs(whole(saved(image, "TIFF"))[1] - ink(inks)).max() <= 1
    adobe = saved(image, "JPEG", quality=98)
    assert b"Adobe" in adobe
    assert np.abs(whole(adobe)[1] - ink(inks)).mean() < 3
    at = adobe.index(b"\xff\xee")  # Adobe's marker taken out: the same numbers are now inks as they are
    plain = adobe[:at] + adobe[at + 2 + int.from_bytes(adobe[at + 2 : at + 4]) :]
    assert np.abs(whole(plain)[1] - ink(255 - inks)).mean() < 3


def test_ycbcr_lab_and_premultiplied_alpha_become_srgb():
    ycc = RNG.integers(90, 160, (H, W, 3), np.uint8)
    y, cb, cr = np.moveaxis(ycc.astype(float), -1, 0)
    want = [y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)]
    data = tiff(ycc.tobytes(), {258: (8, 8, 8), 262: 6, 277: 3, 530: (1, 1)})
    assert np.abs(whole(data)[1] - np.stack(want, -1)).max() <= 2
    lab = np.zeros((H, W, 3), np.uint8)
    lab[..., 0] = np.linspace(0, 255, W)  # neutral, by CIE lightness
    lightness = lab[..., 0] / 255 * 100
    linear = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness / 903.3)
    srgb = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear) * 255
    data = tiff(lab.tobytes(), {258: (8, 8, 8), 262: 8, 277: 3})
    assert np.abs(whole(data)[1] - srgb[..., None]).max() <= 3
    alpha = np.maximum(RGBA[..., 3:], 128)
    premultiplied = np.dstack([(RGB * (alpha / 255)).round().astype(np.uint8), alpha])
    window = whole(tiff(premultiplied.tobytes(), {258: (8,) * 4, 262: 2, 277: 4, 338: 1}))[1]
    assert (window[..., 3:] == alpha).all()
    assert np.abs(window[..., :3].astype(int) - RGB).max() <= 2


def test_a_fourth_channel_that_is_not_alpha_is_left_out():
    picture, window = whole(tiff(RGBA.tobytes(), {258: (8,) * 4, 262: 2, 277: 4, 338: 0}))
    assert picture.channels == 3
    assert (window == RGBA[..., :3]).all()


# --- depth ----------------------------------------------------------------------------------------------------


def test_16_bits_stay_16_bits_in_png():
    for pixels, colour in ((GREY16, 0), (RGBA16[..., :3], 2), (RGBA16[..., :2], 4), (RGBA16, 6)):
        picture, window = whole(png(pixels, 16, colour))
        assert picture.peak == 65535
        assert picture.warnings == ()
        assert (window == pixels).all()


@pytest.mark.parametrize("order", "<>")
def test_16_bits_stay_16_bits_in_tiff_in_both_byte_orders(order):
    for pixels, tags in (
        (GREY16, {258: 16}),
        (RGBA16[..., :3], {258: (16,) * 3, 262: 2, 277: 3}),
        (RGBA16, {258: (16,) * 4, 262: 2, 277: 4, 338: 2}),
        (RGBA16, {258: (16,) * 4, 262: 2, 277: 4, 338: 0}),  # a fourth channel that is not alpha
    ):
        for compression, pack in ((1, bytes), (8, zlib.compress)):
            strip = pack(pixels.astype(f"{order}u2").tobytes())
            picture, window = whole(tiff(strip, {**tags, 259: compression}, order))
            assert picture.warnings == ()
            assert picture.peak == 65535
            assert (window == pixels[..., : 3 if tags.get(338) == 0 else None]).all()


def two_pages(first, second):
    first = tiff(*first)
    at = 8 + 2 + 12 * int.from_bytes(first[8:10], "little")  # where the next directory lies
    return first[:at] + struct.pack("<I", len(first) + 8) + first[at + 4 :] + tiff(*second, base=len(first))


def test_a_page_that_is_not_read_does_not_matter_to_the_others():
    grey, colours = (GREY.tobytes(), {}), (bytes(12 * H * W), {258: (32,) * 3, 262: 2, 277: 3, 339: (3, 3, 3)})
    picture, window = whole(two_pages(grey, colours))
    assert (window == GREY).all()
    assert picture.frames == 2
    refused(two_pages(grey, colours), Reason.UNSUPPORTED, "not read", frame=1)
    picture, window = whole(two_pages(colours, grey), frame=1)
    assert (window == GREY).all()
    assert picture.frames == 2


def test_a_later_page_of_16_bit_colour_keeps_its_bits():
    pages, tags = (RGBA16[..., :3], RGBA16[..., 1:]), {258: (16,) * 3, 262: 2, 277: 3}
    data = two_pages(*((page.astype("<u2").tobytes(), tags) for page in pages))
    assert (whole(data)[1] == pages[0]).all()
    picture, window = whole(data, frame=1)
    assert (window == pages[1]).all()
    assert picture.warnings == ()


def planar(pixels, tags, order, *, packed, rows=9):
    """A TIFF with a plane a channel, in strips."""
    kind = f"{order}u{pixels.itemsize}"
    planes = np.moveaxis(pixels, -1, 0)
    strips = [plane[top : top + rows].astype(kind).tobytes() for plane in planes for top in range(0, H, rows)]
    strips = [zlib.compress(strip) if packed else strip for strip in strips]
    offsets = tuple(np.cumsum([0, *map(len, strips)])[:-1].tolist())
    channels = pixels.shape[2]
    tags = {258: (pixels.itemsize * 8,) * channels, 277: channels, 278: rows, 284: 2, **tags}
    return tiff(b"".join(strips), {**tags, 259: 8 if packed else 1, 273: offsets, 279: tuple(map(len, strips))}, order)


def contiguous(pixels, tags, order):
    channels = pixels.shape[2]
    strip = pixels.astype(f"{order}u{pixels.itemsize}").tobytes()
    return tiff(strip, {258: (pixels.itemsize * 8,) * channels, 277: channels, **tags}, order)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("order", "<>")
def test_planes_of_a_channel_each_keep_every_bit_of_every_channel(order, packed):
    for pixels, tags in (
        (RGB, {262: 2}),
        (RGBA, {262: 2, 338: 2}),
        (RGBA[..., :2], {262: 1, 338: 2}),
        (RGBA16[..., :3], {262: 2}),
        (RGBA16, {262: 2, 338: 2}),
    ):
        picture, window = whole(planar(pixels, tags, order, packed=packed))
        assert picture.peak == np.iinfo(pixels.dtype).max
        assert (window == pixels).all()
        assert picture.warnings == ()
        turned_over = whole(planar(pixels, {**tags, 274: 6}, order, packed=packed))
        assert turned_over[0].orientation == 6
        assert (turned_over[1] == turned(pixels, 6)).all()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("order", "<>")
def test_planes_mean_what_channels_that_lie_together_mean(order, packed):
    alpha = np.maximum(RGBA[..., 3:], 128)
    premultiplied = np.dstack([(RGB * (alpha / 255)).astype(np.uint8), alpha])
    for pixels, tags in (
        (RGB, {262: 8}),  # CIELAB
        (RGBA, {262: 5}),  # inks
        (premultiplied, {262: 2, 338: 1}),
        (premultiplied[..., 2:], {262: 1, 338: 1}),
        (premultiplied.astype(np.uint16) * 257, {262: 2, 338: 1}),
        (RGBA, {262: 2, 338: 0}),  # more than the colours, and not alpha
        (RGBA[..., :2], {262: 1, 338: 0}),
        (np.dstack([RGBA, GREY]), {262: 2, 338: (2, 0)}),
    ):
        want, got = whole(contiguous(pixels, tags, order)), whole(planar(pixels, tags, order, packed=packed))
        assert (got[1] == want[1]).all()
        assert got[0].warnings == want[0].warnings


def test_the_first_of_several_planes_that_mean_nothing_is_read():
    values = RGBA16[..., :2]
    for packed in (False, True):
        for photometric in (0, 1):
            window = whole(planar(values, {262: photometric, 338: 0}, "<", packed=packed))[1]
            assert (window == (values[..., 0] if photometric else 65535 - values[..., 0])).all()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("kind", "form"), [("i2", 2), ("f4", 3)])
def test_a_plane_of_numbers_that_are_signed_or_floats_is_what_they_are(kind, form, order):
    values = RNG.integers(-30000, 30000, (H, W, 2)).astype(kind)
    data = planar(values.view(f"u{kind[1]}"), {262: 1, 338: 0, 339: (form, form)}, order, packed=True)
    assert (whole(data)[1] == values[..., 0]).all()


def test_planes_of_a_bigtiff_and_of_a_later_page_are_read():
    pages = [RGB, RGBA16[..., :3]]
    tags = [{256: W, 257: H, 258: 8 * p.itemsize, 259: 1, 262: 2, 277: 3, 278: H, 284: 2} for p in pages]
    planes = [np.moveaxis(p, -1, 0).astype(f"<u{p.itemsize}").tobytes() for p in pages]
    data = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16 + sum(map(len, planes))) + b"".join(planes)
    start = 16
    for number, (plane, entries) in enumerate(zip(planes, tags, strict=True)):
        share, size = len(plane) // 3, 8 + 20 * 10 + 8
        lists = struct.pack("<6Q", *(start + share * k for k in range(3)), *(share,) * 3)
        at = len(data) + size
        values = {**{tag: (1, value) for tag, value in entries.items()}, 273: (3, at), 279: (3, at + 24)}
        table = b"".join(struct.pack("<HHQQ", tag, 16, *value) for tag, value in sorted(values.items()))
        data += struct.pack("<Q", 10) + table + struct.pack("<Q", 0 if number else at + len(lists)) + lists
        start += len(plane)
    for number, page in enumerate(pages):
        picture, window = whole(data, frame=number)
        assert picture.frames == 2
        assert (window == page).all()
    with pytest.raises(InputError, match="2 frames"):
        images.decode(data, frame=2)


def test_planes_that_no_picture_has_are_not_read():
    refused(planar(RGB, {262: 2, 338: (0,) * 5}, "<", packed=True), Reason.UNSUPPORTED, "not read")
    refused(planar(RGB, {262: 2, 277: 2**31}, "<", packed=True), Reason.CORRUPT, "corrupt")


def test_planes_with_a_palette_and_alpha_are_not_read():
    colours = tuple(int(v) for v in RNG.integers(0, 65536, 768))
    refused(planar(RGBA[..., :2], {262: 3, 320: colours, 338: 2}, "<", packed=True), Reason.UNSUPPORTED, "planes")


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("kind", "form"), [("f4", 3), ("i4", 2), ("i2", 2), ("u2", 1)])
def test_numbers_of_a_tiff_are_what_they_are_in_both_byte_orders_packed_or_not(kind, form, order):
    values = (RNG.integers(-30000, 30000, (H, W)) if form > 1 else GREY16).astype(kind)
    tags = {258: int(kind[1]) * 8, 339: form}
    for compression, pack in ((1, bytes), (8, zlib.compress)):
        window = whole(tiff(pack(values.astype(order + kind).tobytes()), {**tags, 259: compression}, order))[1]
        assert (window == values).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_both_bytes_of_16_bits_are_turned_alike(orientation):
    for pixels, tags in ((GREY16, {258: 16}), (RGBA16[..., :3], {258: (16,) * 3, 262: 2, 277: 3})):
        window = whole(tiff(pixels.astype("<u2").tobytes(), {**tags, 274: orientation}))[1]
        assert (window == turned(pixels, orientation)).all()


def test_a_negative_16_bit_tiff_is_turned_positive_and_12_bits_fill_16():
    assert (whole(tiff(GREY16.astype("<u2").tobytes(), {258: 16, 262: 0}))[1] == 65535 - GREY16).all()
    twelve = GREY16 >> 4
    bits = (twelve[..., None] >> np.arange(11, -1, -1) & 1).astype(np.uint8).reshape(H, -1)
    picture, window = whole(tiff(np.packbits(bits, axis=1).tobytes(), {258: 12}))
    assert np.abs(window / 65535 - twelve / 4095).max() < 1e-4
    assert picture.peak == 65535


def test_16_bit_pgm_is_read_and_16_bit_ppm_says_what_it_lost():
    picture, window = whole(b"P5 %d %d 65535\n" % (W, H) + GREY16.astype(">u2").tobytes())
    assert (window == GREY16).all()
    assert picture.warnings == ()
    pixels = RGBA16[..., :3]
    picture, window = whole(b"P6 # wide\n%d %d\n65535\n" % (W, H) + pixels.astype(">u2").tobytes())
    assert np.abs(window / 255 - pixels / 65535).max() <= 0.5 / 255 + 1e-4
    assert picture.warnings == ("its 16 bits a sample became 8",)


def test_the_bits_of_an_avif_are_told_by_its_configuration():
    data = bytearray(saved(RGB, "AVIF"))
    assert strict.bits_of(bytes(data), "AVIF") == 8
    data[data.index(b"av1C") + 6] |= 0x40  # AV1 in ISOBMFF, 2.3.3: a bit for the tier, then high_bitdepth
    assert strict.bits_of(bytes(data), "AVIF") == 10


def test_what_pillow_would_read_wrongly_is_refused():
    refused(tiff(GREY.tobytes(), {339: 2}), Reason.UNSUPPORTED, "signed")
    refused(tiff(bytes(8 * H * W), {258: 64, 339: 3}), Reason.UNSUPPORTED, "not read")


def test_float_pictures_keep_their_values():
    values = RNG.random((H, W)).astype(np.float32)
    picture, window = whole(saved(values, "TIFF"))
    assert (window == values).all()
    assert picture.peak == 1
    assert picture.warnings == ()
    picture, window = whole(saved(values * 300 - 7, "TIFF"))
    assert (window == values * 300 - 7).all()
    assert picture.warnings == ()  # what a file cuts is said of the file
    window = whole(b"Pf\n%d %d\n-1.0\n" % (W, H) + values[::-1].astype("<f4").tobytes())[1]
    assert (window == values).all()


def test_nan_and_infinite_pixels_are_counted_and_refused_if_there_is_no_other():
    values = RNG.random((H, W)).astype(np.float32)
    values[2, 3], values[5, 1], values[6, 6] = np.nan, np.inf, -np.inf
    picture, window = whole(saved(values, "TIFF"))
    assert picture.warnings == (f"3 of its {H * W} pixels are NaN or infinite",)
    assert np.array_equal(window, values, equal_nan=True)
    assert picture.preview(100).shape == (H, W, 3)
    refused(saved(np.full((H, W), np.nan, np.float32), "TIFF"), Reason.CORRUPT, "finite")


def test_32_bit_integers_are_16_bit_grey_where_they_fit_and_themselves_where_not():
    values = GREY16.astype(np.int32)
    values[2, 3], values[5, 1] = 0, 65535
    picture, window = whole(saved(Image.fromarray(values), "TIFF"))
    assert picture.peak == 65535
    assert (window == values).all()
    assert "16-bit grey" in picture.warnings[0]
    picture, window = whole(saved(Image.fromarray(values * 5 - 9), "TIFF"))
    assert picture.peak == 1
    assert (window == values * 5 - 9).all()
    assert picture.warnings == ()
    signed = np.array([[-5, 100, 7]], np.int32)
    picture, window = whole(saved(Image.fromarray(signed), "TIFF"))
    assert picture.peak == 1
    assert (window == signed).all()


def test_unsigned_32_bit_integers_stay_above_zero():
    values = RNG.integers(0, 2**32, (H, W), np.uint32)
    for order in "<>":
        for compression, pack in ((1, bytes), (8, zlib.compress)):
            tags = {258: 32, 259: compression, 339: 1 if order == "<" else None}
            picture, window = whole(tiff(pack(values.astype(f"{order}u4").tobytes()), tags, order))
            assert (window == values.astype(np.float32)).all()
            assert picture.peak == 1
            preview = picture.preview(99)[..., 0]
            assert np.abs(preview - values / values.max() * 255).max() <= 1
    small = GREY16.astype("<u4")
    small[2, 3], small[5, 1] = 0, 65535
    picture, window = whole(tiff(small.tobytes(), {258: 32}))
    assert picture.peak == 65535
    assert (window == small).all()


# --- colour ---------------------------------------------------------------------------------------------------


def icc(space, tags):
    """A minimal profile: version 2, a monitor, relative to XYZ."""
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        data = data.ljust(-(-len(data) // 4) * 4, b"\0")  # noqa: PLW2901 - padded to four
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"lcms", 0x02400000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + body


def xyz(x, y, z):
    return b"XYZ \0\0\0\0" + struct.pack(">iii", *(round(v * 65536) for v in (x, y, z)))


LINEAR = b"curv\0\0\0\0\0\0\0\0"
WHITE = {b"wtpt": xyz(0.9642, 1, 0.8249)}
SRGB = {
    b"rXYZ": xyz(0.4361, 0.2225, 0.0139),
    b"gXYZ": xyz(0.3851, 0.7169, 0.0971),
    b"bXYZ": xyz(0.1431, 0.0606, 0.7139),
}
CURVES = {b"rTRC": LINEAR, b"gTRC": LINEAR, b"bTRC": LINEAR}
LINEAR_RGB = icc(b"RGB ", {**WHITE, **SRGB, **CURVES})
SWAPPED_RGB = icc(b"RGB ", {**WHITE, **SRGB, **CURVES, b"rXYZ": SRGB[b"gXYZ"], b"gXYZ": SRGB[b"rXYZ"]})
LINEAR_GREY = icc(b"GRAY", {**WHITE, b"kTRC": LINEAR})


def srgb_of(linear):
    return np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_a_profile_is_converted_to_srgb_and_can_be_left_alone(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(RGB, kind, icc_profile=LINEAR_RGB, **options)
    picture, window = whole(data)
    assert picture.warnings == ()
    assert np.abs(window / 255 - srgb_of(RGB / 255)).max() < 2 / 255
    assert (whole(data, icc=False)[1] == RGB).all()
    window = whole(saved(RGB, kind, icc_profile=SWAPPED_RGB, **options))[1]
    assert np.abs(window / 255 - srgb_of(RGB[..., [1, 0, 2]] / 255)).max() < 2 / 255


def test_a_jpegs_profile_is_converted_as_the_whole_picture_would_be():
    data = saved(SMOOTH, "JPEG", icc_profile=SWAPPED_RGB)
    decoded = np.asarray(Image.open(io.BytesIO(data)))
    assert np.abs(whole(data)[1] / 255 - srgb_of(decoded[..., [1, 0, 2]] / 255)).max() < 2 / 255


def test_profiles_of_grey_palette_and_transparent_pictures_are_converted_too():
    picture, window = whole(saved(GREY, "PNG", icc_profile=LINEAR_GREY))
    assert picture.channels == 1
    assert np.abs(window / 255 - srgb_of(GREY / 255)).max() < 2 / 255
    assert np.abs(whole(saved(GREY, "PNG", icc_profile=LINEAR_RGB))[1] / 255 - srgb_of(GREY / 255)).max() < 2 / 255
    window = whole(saved(RGBA, "PNG", icc_profile=LINEAR_RGB))[1]
    assert (window[..., 3] == RGBA[..., 3]).all()
    assert np.abs(window[..., :3] / 255 - srgb_of(RGBA[..., :3] / 255)).max() < 2 / 255
    window = whole(saved(RGBA[..., :2], "PNG", icc_profile=LINEAR_GREY))[1]
    assert (window[..., 1] == RGBA[..., 1]).all()
    assert np.abs(window[..., 0] / 255 - srgb_of(RGBA[..., 0] / 255)).max() < 2 / 255
    palette = RNG.integers(0, 256, (9, 3), np.uint8)
    index = RNG.integers(0, 9, (H, W), np.uint8)
    image = Image.fromarray(index)
    image.putpalette(palette.tobytes())
    window = whole(saved(image, "PNG", icc_profile=LINEAR_RGB))[1]
    assert np.abs(window / 255 - srgb_of(palette[index] / 255)).max() < 2 / 255


def test_16_bit_grey_keeps_its_depth_through_a_profile_and_16_bit_colour_says_it_does_not():
    def with_profile(pixels, colour, profile):
        return png(pixels, 16, colour, before=[(b"iCCP", b"p\0\0" + zlib.compress(profile))])

    picture, window = whole(with_profile(GREY16, 0, LINEAR_GREY))
    assert np.abs(window / 65535 - srgb_of(GREY16 / 65535)).max() < 2 / 255
    assert len(np.unique(window)) > 256
    assert "8 bits" in picture.warnings[0]
    picture, window = whole(with_profile(RGBA16[..., :3], 2, LINEAR_RGB))
    assert picture.peak == 255
    assert np.abs(window / 255 - srgb_of((RGBA16[..., :3] >> 8) / 255)).max() < 2 / 255
    assert picture.warnings == ("its 16 bits a sample became 8",)


def test_a_profile_of_a_png_may_be_large():
    large = icc(b"RGB ", {**WHITE, **SRGB, **CURVES, b"priv": b"data\0\0\0\1" + RNG.bytes(3 * 2**19)})
    window = whole(png(RGB, 8, 2, before=[(b"iCCP", b"p\0\0" + zlib.compress(large))]))[1]
    assert np.abs(window / 255 - srgb_of(RGB / 255)).max() < 2 / 255


def test_srgbs_own_profile_changes_nothing():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture, window = whole(saved(RGB, "PNG", icc_profile=profile))
    assert (window == RGB).all()
    assert picture.warnings == ()
    data = png(RGBA16, 16, 6, before=[(b"iCCP", b"p\0\0" + zlib.compress(profile))])
    assert (whole(data)[1] == RGBA16).all()


def test_a_profile_that_is_hardly_another_than_srgbs_is_converted_all_the_same():
    grid = np.linspace(0, 1, 10_001)
    linear = np.interp(np.arange(256) / 255, srgb_of(grid), grid) ** 1.03  # a little darker
    curve = b"curv" + struct.pack(">II256H", 0, 256, *np.rint(linear * 65535).astype(int))
    data = saved(RGB, "PNG", icc_profile=icc(b"RGB ", {**WHITE, **SRGB, **dict.fromkeys(CURVES, curve)}))
    wanted = (srgb_of(linear) * 255)[RGB]
    assert 2 < np.abs(wanted - RGB).max() < 4
    assert np.abs(whole(data)[1] - wanted).max() < 1


@pytest.mark.parametrize("profile", [b"junk", LINEAR_RGB[:200], LINEAR_GREY, icc(b"CMYK", WHITE), icc(b"RGB ", WHITE)])
def test_a_profile_that_cannot_be_used_is_a_warning_and_the_numbers_stay(profile):
    picture, window = whole(saved(RGB, "PNG", icc_profile=profile))
    assert (window == RGB).all()
    assert "ICC" in picture.warnings[0]


def test_a_profile_that_a_jpeg_has_lost_a_part_of_is_a_warning():
    data = saved(SMOOTH, "JPEG", icc_profile=bytes(70_000))  # two parts
    at = data.rindex(b"ICC_PROFILE\0") - 4
    data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4]) :]
    assert "ICC" in whole(data)[0].warnings[0]


# --- upright --------------------------------------------------------------------------------------------------


def turned(pixels, orientation):
    """EXIF's words, pixel by pixel: where the 0th row and the 0th column of what is stored belong."""
    h, w = pixels.shape[:2]
    size = (w, h) if orientation >= 5 else (h, w)
    out = np.empty((*size, *pixels.shape[2:]), pixels.dtype)
    for y in range(h):
        for x in range(w):
            row, column = {
                1: (y, x),
                2: (y, w - 1 - x),
                3: (h - 1 - y, w - 1 - x),
                4: (h - 1 - y, x),
                5: (x, y),
                6: (x, h - 1 - y),
                7: (w - 1 - x, h - 1 - y),
                8: (w - 1 - x, y),
            }[orientation]
            out[row, column] = pixels[y, x]
    return out


def oriented(kind, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    if kind == "TIFF":
        return tiff(RGB.tobytes(), {258: (8, 8, 8), 262: 2, 274: orientation, 277: 3})
    return saved(RGB, kind, exif=exif, **options)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(kind, orientation):
    data = oriented(kind, orientation)
    stored = RGB if kind != "JPEG" else np.asarray(Image.open(io.BytesIO(data)))
    picture, window = whole(data)
    assert picture.orientation == orientation
    assert (window == turned(stored, orientation)).all()
    assert (picture.preview(10_000) == turned(stored, orientation)).all()


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_window_is_a_cut_of_the_upright_whole(data):
    kind = data.draw(st.sampled_from(["PNG", "TIFF"]))
    picture = images.decode(oriented(kind, data.draw(st.integers(1, 8))))
    height, width = picture.size
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    rows, cols = (
        range(top, data.draw(st.integers(top + 1, height))),
        range(left, data.draw(st.integers(left + 1, width))),
    )
    everything = picture.window(range(height), range(width))
    window = picture.window(rows, cols)
    assert window.flags.c_contiguous
    assert (window == everything[rows.start : rows.stop, cols.start : cols.stop]).all()


XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>"""


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF"])
def test_an_orientation_that_only_xmp_has_is_none(kind):
    exif = Image.Exif()
    exif[271] = "a maker"  # EXIF is there, without an orientation
    for options in ({}, {"exif": exif}):
        if kind == "TIFF":
            xmp = {700: tuple(struct.unpack(f"<{len(XMP) // 2}H", XMP[: len(XMP) // 2 * 2]))}
            data = tiff(RGB.tobytes(), {258: (8, 8, 8), 262: 2, 277: 3, **xmp})
            data = data.replace(struct.pack("<HHI", 700, 3, len(XMP) // 2), struct.pack("<HHI", 700, 1, len(XMP)))
        elif kind == "PNG":
            text = (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
            data = png(RGB, 8, 2, before=[text, *([(b"eXIf", exif.tobytes()[6:])] if options else [])])
        else:
            data = saved(RGB, kind, xmp=XMP, **options)
        assert b"tiff:Orientation" in data
        picture, _ = whole(data)
        assert (picture.orientation, picture.size, picture.warnings) == (1, (H, W), ())


def test_an_orientation_that_does_not_exist_or_a_broken_exif_block_changes_nothing():
    for data in (oriented("PNG", 9), oriented("PNG", 0), saved(RGB, "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")):
        picture, window = whole(data)
        assert picture.orientation == 1
        assert (window == RGB).all()


# --- frames ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_the_first_frame_is_read_and_said_to_be_it_and_any_other_on_demand(kind):
    frames = [Image.new("RGB", (W, H), colour) for colour in ("#ff0000", "#00ff00", "#0000ff")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    for number, colour in enumerate(((255, 0, 0), (0, 255, 0), (0, 0, 255))):
        picture, window = whole(data, frame=number)
        assert picture.frames == 3
        assert (window[..., :3] == colour).all()
        assert picture.warnings == (("the first of 3 frames",) if number == 0 else ())
    for absent in (3, -1):
        with pytest.raises(InputError, match=r"3 frames, 0 to 2: there is no frame"):
            images.decode(data, frame=absent)


def test_a_picture_of_one_frame_has_no_second():
    with pytest.raises(InputError, match="one frame: there is no frame 1"):
        images.decode(saved(RGB, "PNG"), frame=1)


def test_a_phones_double_jpeg_is_a_jpeg():
    data = saved(Image.fromarray(SMOOTH), "MPO", save_all=True, append_images=[Image.new("RGB", (62, 46))])
    picture, window = whole(data)
    assert (picture.format, picture.frames, picture.warnings) == ("MPO", 2, ())
    assert (window == whole(saved(SMOOTH, "JPEG"))[1]).all()
    assert not whole(data, frame=1)[1].any()


# --- refused --------------------------------------------------------------------------------------------------

CUT = {
    "png": saved(SMOOTH, "PNG"),
    "palette": saved(Image.fromarray(SMOOTH).quantize(16), "PNG"),
    "jpeg": saved(SMOOTH, "JPEG"),
    "progressive": saved(SMOOTH, "JPEG", progressive=True),
    "gif": saved(Image.fromarray(SMOOTH).quantize(64), "GIF")[:-2],  # less its trailer, which no pixel needs
    "webp": saved(SMOOTH, "WEBP"),
    "bmp": saved(SMOOTH, "BMP")[:-2],  # less the padding of its last row
    "ppm": saved(SMOOTH, "PPM"),
    "tiff": saved(SMOOTH, "TIFF"),
    "tiff lzw": saved(SMOOTH, "TIFF", compression="tiff_lzw"),
    "tiff deflate": saved(SMOOTH, "TIFF", compression="tiff_adobe_deflate"),
}


@pytest.mark.parametrize("kind", CUT)
def test_a_file_cut_anywhere_is_refused(kind):
    data = CUT[kind]
    whole(data)
    reasons = []
    for cut in [*range(64), *range(64, len(data), 41), len(data) - 2, len(data) - 1]:
        with pytest.raises(PictureError) as caught:
            images.decode(data[:cut])
        reasons.append(caught.value.reason)
    assert reasons[0] is Reason.EMPTY
    assert reasons.count(Reason.TRUNCATED) > 0.6 * len(reasons)


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"subsampling": 0}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_jpeg_whose_end_comes_early_is_refused(mode, options):
    data = saved(SMOOTH, "JPEG", mode, **options)
    whole(data)
    whole(data + b"trailing bytes of a camera" * 9)
    for missing in (64, 200, len(data) // 3):
        refused(data[:-missing].rstrip(b"\xff") + b"\xff\xd9", Reason.TRUNCATED)


def chunks(data):
    at = 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4])
        yield data[at + 4 : at + 8], at + 8, length
        at += 12 + length


def test_a_png_with_any_wrong_checksum_is_refused():
    data = saved(RGB, "PNG", dpi=(72, 72), exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0")
    found = []
    for kind, start, length in chunks(data):
        for at in (start + length, start if length else start + length):  # the checksum, the body
            damaged = bytearray(data)
            damaged[at] ^= 1
            refused(bytes(damaged), Reason.CORRUPT, "checksum")
        found.append(kind)
    assert {b"IHDR", b"IDAT", b"IEND", b"eXIf"} <= set(found)


def test_an_avif_is_measured_by_its_boxes_however_they_say_their_length():
    data = saved(SMOOTH, "AVIF")
    long = struct.pack(">I4sQ", 1, b"free", 16 + 9) + bytes(9)
    for last in (long, struct.pack(">I4s", 0, b"free") + bytes(9)):  # 64 bits; up to the end of the file
        assert (whole(data + last)[1] == whole(data)[1]).all()
    refused(data + long[:-1], Reason.TRUNCATED, f"{len(data) + 24} of {len(data) + 25} bytes")
    refused(data + struct.pack(">I4s", 7, b"free"), Reason.CORRUPT, "a box of 7 bytes")


def test_a_bigtiff_is_measured_by_its_directory_which_may_lie_behind_the_pixels():
    tags = {256: W, 257: H, 258: 8, 259: 1, 262: 1, 273: 16, 277: 1, 278: H, 279: H * W}
    table = b"".join(struct.pack("<HHQQ", tag, 4, 1, value) for tag, value in tags.items())
    data = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16 + H * W) + GREY.tobytes()
    data += struct.pack("<Q", len(tags)) + table + bytes(8)
    assert (whole(data)[1] == GREY).all()
    for cut in (16 + H * W, len(data) - 9):
        refused(data[:cut], Reason.TRUNCATED, f"{cut} of ")
    for beyond in (2**32, 2**63):  # where another page should be
        assert (whole(data[:-8] + struct.pack("<Q", beyond))[1] == GREY).all()


def test_a_png_whose_image_data_is_short_is_refused_though_all_checksums_are_right():
    for pixels in (RGB, np.zeros_like(RGB)):
        whole(png(pixels, 8, 2))
        for drop in (1, 3 * W + 1, 3 * W * 9):
            refused(png(pixels, 8, 2, drop=drop), Reason.TRUNCATED)
    refused(png(RGB, 8, 2, data=zlib.compress(b"")), Reason.TRUNCATED)


@pytest.mark.parametrize(
    ("colour", "depth", "row"),  # bytes of five pixels, filled up to a whole one
    [
        *((0, 1, 1), (0, 2, 2), (0, 4, 3), (0, 8, 5), (0, 16, 10)),
        *((2, 8, 15), (2, 16, 30), (4, 8, 10), (4, 16, 20), (6, 8, 20), (6, 16, 40)),
        *((3, 1, 1), (3, 2, 2), (3, 4, 3), (3, 8, 5)),
    ],
)
def test_a_png_is_measured_whatever_its_colours_and_depth_are(colour, depth, row):
    size, palette = np.zeros((3, 5)), [(b"PLTE", bytes(6))] if colour == 3 else []
    rows = bytes(3 * (1 + row))
    assert not whole(png(size, depth, colour, before=palette, data=zlib.compress(rows)))[1].any()
    refused(png(size, depth, colour, before=palette, data=zlib.compress(rows[:-1])), Reason.TRUNCATED)


def test_an_interlaced_png_is_measured_by_its_seven_passes():
    order = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    for height, width in ((23, 31), (1, 1), (3, 2), (8, 5), (5, 1)):
        pixels = RGB[:height, :width]
        rows = b"".join(b"\0" + row.tobytes() for x, y, dx, dy in order for row in pixels[y::dy, x::dx] if row.size)
        assert (whole(png(pixels, 8, 2, interlace=1, data=zlib.compress(rows)))[1] == pixels).all()
        for drop in {1, min(len(rows), 1 + 3 * width)}:  # a byte, and the whole of the last row
            refused(png(pixels, 8, 2, interlace=1, data=zlib.compress(rows[:-drop])), Reason.TRUNCATED)
    for size in ((h, w) for h in range(1, 18) for w in (1, 4, 5, 9, 18)):
        field = np.zeros(size)
        length = sum(1 + row.size for x, y, dx, dy in order for row in field[y::dy, x::dx] if row.size)
        rows, short = (zlib.compress(bytes(n)) for n in (length, length - 1))
        strict.check_png_length(png(field, 8, 0, interlace=1, data=rows), "x")
        with pytest.raises(PictureError, match=f"{length - 1} of {length} bytes"):
            strict.check_png_length(png(field, 8, 0, interlace=1, data=short), "x")
    size = np.zeros((6, 11))  # of one bit: most of what there is are the bytes for filters
    rows = [bytes(1 + -(-len(range(x, 11, dx)) // 8)) * len(range(y, 6, dy)) for x, y, dx, dy in order]
    assert not whole(png(size, 1, 0, interlace=1, data=zlib.compress(b"".join(rows))))[1].any()
    refused(png(size, 1, 0, interlace=1, data=zlib.compress(b"".join(rows[:-1]))), Reason.TRUNCATED)


def test_a_png_is_read_however_long_its_text_is():
    long = zlib.compress(bytes(3 * 2**20))
    texts = [
        (b"zTXt", b"Comment\0\0" + long),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + long),
        (b"tEXt", b"Comment\0" + bytes(3 * 2**20)),
        *[(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 2**20))] * 70,
    ]
    assert (whole(png(RGB, 8, 2, before=[(b"tEXt", b"Comment\0" + bytes(2**20))] * 65))[1] == RGB).all()
    for pixels, colour in ((RGB, 2), (RGBA16[..., :2], 4)):
        depth = pixels.itemsize * 8
        assert (whole(png(pixels, depth, colour, before=texts))[1] == pixels).all()
        refused(png(pixels, depth, colour, before=texts, drop=1), Reason.TRUNCATED)
    with pytest.raises(PictureError, match="checksum"):
        images.decode(png(RGB, 8, 2, before=texts[:1]).replace(b"Comment", b"comment"))


def test_exif_that_a_tool_wrote_as_text_turns_a_png():
    exif = b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
    text = b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n      26\n" + exif.hex().encode())
    picture, window = whole(png(RGB, 8, 2, before=[(b"zTXt", text)]))
    assert picture.orientation == 6
    assert (window == turned(RGB, 6)).all()


def test_a_png_without_header_data_or_end_is_refused():
    data = png(RGB, 8, 2)
    refused(data[:-12], Reason.TRUNCATED, "no end")
    without_data = data[:33] + data[-12:]
    refused(without_data, Reason.CORRUPT, "no image data")
    refused(data[:8] + data[33:], Reason.CORRUPT, "header")
    for size, *rest, says in (
        ((W, H), 3, 2, 0, 0, 0, "header"),  # a depth, a colour type
        ((W, H), 8, 5, 0, 0, 0, "header"),
        ((W, H), 8, 2, 1, 0, 0, "header"),  # a way to compress, to filter, to interlace
        ((W, H), 8, 2, 0, 1, 0, "header"),
        ((W, H), 8, 2, 0, 0, 2, "header"),
        ((0, H), 8, 2, 0, 0, 0, "0 x 23 pixels"),
        ((W, 2**31), 8, 2, 0, 0, 0, "31 x 2147483648 pixels"),
    ):
        header = b"IHDR" + struct.pack(">IIBBBBB", *size, *rest)
        refused(data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:], Reason.CORRUPT, says)


def test_a_failed_load_never_becomes_a_black_picture():
    data = bytearray(saved(RGB, "BMP"))
    for _ in range(2):
        refused(bytes(data[:200]), Reason.TRUNCATED)


REFUSED = {
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Reason.UNSUPPORTED, "heif-convert"),
    "jp2": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(50), Reason.UNSUPPORTED, "JPEG 2000"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", Reason.UNSUPPORTED, "PostScript"),
    "pdf": (b"%PDF-1.7\n", Reason.UNSUPPORTED, "pdftoppm"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", Reason.UNSUPPORTED, "SVG"),
    "blp": (b"BLP2" + bytes(200), Reason.UNSUPPORTED, "not read"),
    "dds": (b"DDS |\0\0\0" + bytes(200), Reason.UNSUPPORTED, "not read"),
    "bigtiff": (b"MM\0+\0\10\0\0" + bytes(200), Reason.UNSUPPORTED, "tiffcp -L"),
    "psd": (b"8BPS\0\1" + bytes(200), Reason.UNSUPPORTED, "Photoshop"),
    "text": (b"To be, or not to be, that is the question", Reason.NOT_AN_IMAGE, "not an image"),
    "zeros": (bytes(1000), Reason.NOT_AN_IMAGE, "not an image"),
    "as text": (saved(RGB, "PNG").replace(b"\r\n", b"\n"), Reason.CORRUPT, "as text"),
    "nothing": (b"", Reason.EMPTY, "empty"),
    "one byte": (b"\xff", Reason.NOT_AN_IMAGE, None),
    **{
        f"jpeg of {kind:x}": (
            b"\xff\xd8\xff%c\0\x0b\x08\0\x10\0\x10\1\1\x11\0\xff\xd9" % kind,
            Reason.UNSUPPORTED,
            "lossless or hier",
        )
        for kind in (0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF)  # T.81, table B.1
    },
    "12-bit jpeg": (b"\xff\xd8\xff\xc1\0\x0b\x0c\0\x10\0\x10\1\1\x11\0\xff\xd9", Reason.UNSUPPORTED, "12-bit"),
    "short frame": (b"\xff\xd8\xff\xc0\0\x05\x08\0\x10\xff\xd9", Reason.CORRUPT, "frame header is too short"),
    "no scan": (b"\xff\xd8\xff\xc0\0\x0b\x08\0\x10\0\x10\1\1\x11\0\xff\xd9", Reason.CORRUPT, "no scan"),
    "no frame": (b"\xff\xd8\xff\xda\0\x02\xff\xd9", Reason.CORRUPT, "no frame"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_a_picture_that_is_read_is_refused_with_its_reason(kind):
    refused(*REFUSED[kind])


def masked_bmp():
    """16 bits a pixel, 4 of each colour: which bits are whose is told by masks."""
    head = b"BM" + struct.pack("<IHHI", 66 + 2 * 32 * H, 0, 0, 66)
    head += struct.pack("<IiiHHIIiiII", 40, W, H, 1, 16, 3, *(0,) * 5)
    return head + struct.pack("<III", 0xF00, 0xF0, 0xF) + bytes(2 * 32 * H)


@pytest.mark.parametrize(
    "data",
    [
        b"PF\n%d %d\n-1.0\n" % (W, H) + bytes(12 * H * W),
        masked_bmp(),
        tiff(b"RIFF\x1a\0\0\0WEBPVP8L" + bytes(18), {258: (8, 8, 8), 259: 50001, 262: 2, 277: 3}),
        tiff(bytes(99), {259: 34887}),  # LERC
    ],
)
def test_what_exists_and_is_not_read_is_not_called_corrupt(data):
    refused(data, Reason.UNSUPPORTED, "not read")


def bmp(width, height):
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, *(0,) * 6)


@pytest.mark.parametrize(("bits", "three"), [(8, b"\1\2\3\0"), (4, b"\x12\x30")])
def test_rows_that_a_bmp_of_run_lengths_leaves_out_have_its_first_colour(bits, three):
    palette = RNG.integers(0, 256, (16, 4), np.uint8)
    run = b"\3\7" if bits == 8 else b"\3\x77"
    codes = run + b"\0\0" + b"\0\0" + b"\0\2\2\0" + b"\0\3" + three + b"\0\0" + b"\0\1"
    header = struct.pack("<IiiHHIIiiII", 40, 5, 6, 1, bits, {8: 1, 4: 2}[bits], 0, 0, 0, 16, 0)
    data = b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + 64) + header + palette.tobytes() + codes
    upwards = np.zeros((6, 5), int)
    upwards[0, :3], upwards[2, 2:] = 7, (1, 2, 3)
    for gap in (b"", b"\0"):  # codes may begin anywhere
        moved = data[:10] + struct.pack("<I", 54 + 64 + len(gap)) + data[14 : 54 + 64] + gap + data[54 + 64 :]
        assert (whole(moved)[1] == palette[upwards[::-1], 2::-1]).all()
        refused(moved[:-2], Reason.TRUNCATED)


BOMBS = {
    "png": png(np.zeros((1, 1)), 8, 0).replace(struct.pack(">II", 1, 1), struct.pack(">II", 60_000, 60_000)),
    "bmp": bmp(60_000, 60_000),
    "ppm": b"P6 90000 90000 255\n" + bytes(100),
    "gif": b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6) + b",\0\0\0\0\xff\xff\xff\xff\0\2\2L\1\0;",
    "tiff": tiff(bytes(H * W), {}).replace(struct.pack("<HHII", 256, 4, 1, W), struct.pack("<HHII", 256, 4, 1, 10**8)),
}
BOMBS["png"] = BOMBS["png"][:29] + struct.pack(">I", zlib.crc32(BOMBS["png"][12:29])) + BOMBS["png"][33:]


BOMBS["gif frame"] = (
    BOMBS["gif"].replace(b"\xff\xff\xff\xff\x80", b"\4\0\4\0\x80").replace(b"\xff" * 4, b"\xe0\x2e" * 2)
)


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_from_its_header(kind):
    refused(BOMBS[kind], Reason.TOO_LARGE)


def test_few_bytes_cannot_claim_many_pixels():
    jpeg = bytearray(saved(SMOOTH, "JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 9000, 9000)
    refused(bytes(jpeg), Reason.TRUNCATED)
    refused(bmp(9000, 9000), Reason.TRUNCATED)
    for compression in (1, 5, 8, 32773):
        refused(tiff(bytes(50), {256: 9000, 257: 9000, 259: compression}), Reason.TRUNCATED)


def test_a_tiff_that_lists_too_few_strips_is_refused():
    tags = {258: (8, 8, 8), 262: 2, 277: 3}
    whole(tiff(RGB.tobytes(), {**tags, 278: 2**32 - 1}))  # one strip, as endless as the standard allows
    refused(tiff(RGB.tobytes(), {**tags, 278: 5}), Reason.TRUNCATED, "1 of 5 strips")
    refused(tiff(RGB.tobytes()[:300], tags), Reason.TRUNCATED, "300 of 2139 bytes")
    planes = tiff(zlib.compress(RGB.tobytes()), {**tags, 259: 8, 284: 2})
    refused(planes, Reason.TRUNCATED, "1 of 3 strips")


def test_a_tiff_that_lists_too_few_tiles_is_refused():
    high, wide = 16, 32  # three times two of them
    field = np.pad(SMOOTH, ((0, 2), (0, 2), (0, 0)))
    tiles = [field[y : y + high, x : x + wide] for y in range(0, 46, high) for x in range(0, 62, wide)]
    tags = {256: 62, 257: 46, 258: (8, 8, 8), 262: 2, 277: 3, 322: wide, 323: high, 273: None, 278: None, 279: None}

    def tiled(tiles, more=()):
        offsets = np.cumsum([0, *(tile.nbytes for tile in tiles)])[:-1].tolist()
        places = {324: tuple(offsets), 325: tuple(tile.nbytes for tile in tiles)}
        return tiff(b"".join(tile.tobytes() for tile in tiles), {**tags, **places, **dict(more)})

    assert (whole(tiled(tiles))[1] == SMOOTH).all()
    refused(tiled(tiles[:-1]), Reason.TRUNCATED, "5 of 6 strips or tiles")
    planes = [np.ascontiguousarray(tile[..., c]) for c in range(3) for tile in tiles]
    assert (whole(tiled(planes, {284: 2}))[1] == SMOOTH).all()
    refused(tiled(planes[:12], {284: 2}), Reason.TRUNCATED, "12 of 18 strips or tiles")
    refused(tiled(tiles)[:-1], Reason.TRUNCATED, "bytes")


def test_a_tiff_cut_inside_the_values_of_a_tag_is_truncated():
    # Pillow would do without: other colours, or no kind of picture that it knows
    for strip, tags, tag in ((RGBA, {258: (8,) * 4, 262: 2, 277: 4, 338: (2, 0, 0)}, 338), (RGB, {258: (8,) * 3}, 258)):
        data = tiff(strip.tobytes(), tags)
        at = data.index(struct.pack("<HHI", tag, 3, 3)) + 8
        for beyond in (len(data) - 5, 2**32 - 1):
            refused(data[:at] + struct.pack("<I", beyond) + data[at + 4 :], Reason.TRUNCATED, "bytes")


def test_a_deflated_strip_with_another_checksum_is_refused():
    tags, stored = {258: (8, 8, 8), 262: 2, 277: 3}, zlib.compress(RGB.tobytes(), 0)
    for compression in (8, 32946):
        assert (whole(tiff(stored + b"more", {**tags, 259: compression}))[1] == RGB).all()
        changed = stored[:200] + bytes([stored[200] ^ 8]) + stored[201:]
        refused(tiff(changed, {**tags, 259: compression}), Reason.CORRUPT, "incorrect data check")
    tile = zlib.compress(np.pad(RGB, ((0, 9), (0, 1), (0, 0))).tobytes(), 0)
    tiled = {**tags, 259: 8, 322: 32, 323: 32, 273: None, 278: None, 279: None, 324: (0,), 325: (len(tile),)}
    assert (whole(tiff(tile, tiled))[1] == RGB).all()
    refused(tiff(tile[:-1] + b"x", tiled), Reason.CORRUPT, "incorrect data check")
    backwards = bytes(int(f"{byte:08b}"[::-1], 2) for byte in stored)
    assert (whole(tiff(backwards, {**tags, 259: 8, 266: 2}))[1] == RGB).all()


def test_what_is_inflated_is_read_a_little_at_a_time():
    stored = zlib.compress(RNG.bytes(2**21), 0)
    for most in (2**20, 2**21, 2**22):
        tracemalloc.start()
        length = strict.inflated([stored, stored], most)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert min(most, 2**21) <= length <= 2**21
        assert peak < 2**18  # the rest of it, copied again and again, would take minutes of a large one


def strip_of(data):
    """(the strip of a TIFF of Pillow's, its tags that say how to read it)."""
    tags = Image.open(io.BytesIO(data)).tag_v2
    ((start,), (length,)) = tags[273], tags[279]
    return data[start : start + length], {tag: tags[tag] for tag in (257, 256, 259, 262, 278) if tag in tags}


def short(strip):
    """A strip of which a part was never written: cut, or zeros."""
    for share in (0.1, 0.5, 0.9):
        keep = int(len(strip) * share)
        yield strip[:keep]
        yield strip[:keep].ljust(len(strip), b"\0")


def test_a_jpeg_in_a_tiff_that_ends_early_is_refused():
    for order in "<>":
        jpeg, tags = saved(SMOOTH, "JPEG"), {256: 62, 257: 46, 258: (8, 8, 8), 259: 7, 262: 6, 277: 3, 278: 46}
        assert np.abs(whole(tiff(jpeg, tags, order))[1].astype(int) - whole(jpeg)[1]).max() <= 2
        for strip in (*short(jpeg), jpeg[: len(jpeg) // 2] + b"\xff\xd9"):
            refused(tiff(strip, tags, order), Reason.TRUNCATED, "truncated")


def test_of_jpegs_in_a_tiff_only_jpegs_are_read_and_the_picture_may_be_smaller():
    data = tiff(b"", {259: 7})
    at = data.index(struct.pack("<HHII", 279, 4, 1, 0)) + 8
    own = data[:at] + struct.pack("<I", len(data)) + data[at + 4 :]
    at = data.index(struct.pack("<HHII", 273, 4, 1, len(data))) + 8
    refused(own[:at] + bytes(4) + own[at + 4 :], Reason.TRUNCATED, "no end marker")  # its strip is all of itself
    tile = saved(Image.fromarray(np.full((64, 80), 77, np.uint8)), "JPEG")
    tags = {259: 7, 322: 80, 323: 64, 273: None, 278: None, 279: None, 324: (0,), 325: (len(tile),)}
    assert (whole(tiff(tile, tags), max_pixels=H * W)[1] == 77).all()


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK"])
def test_jpegs_in_a_tiff_are_read_whatever_their_channels(mode):
    image = Image.fromarray(np.dstack([SMOOTH, SMOOTH[..., 0]])).convert(mode)
    data = saved(image, "TIFF", compression="jpeg")
    expected = np.asarray(image.convert("RGB") if mode == "CMYK" else image)
    assert np.abs(whole(data)[1].astype(int) - expected).mean() < 9


def test_a_jpeg_in_a_tiff_that_ends_early_is_refused_where_its_tables_stand_apart():
    data = saved(SMOOTH, "TIFF", compression="jpeg")
    (start,), (length,), tables = (Image.open(io.BytesIO(data)).tag_v2[tag] for tag in (273, 279, 347))
    assert len(tables) > 99
    assert whole(data)[0].size == (46, 62)
    at = start + length // 2
    refused(data[:at] + b"\xff\xd9" + data[at + 2 :], Reason.TRUNCATED, "truncated")


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("fill", [1, 2])
@pytest.mark.parametrize("kind", ["group3", "group4", "tiff_ccitt"])
def test_a_fax_whose_rows_end_early_is_refused(kind, fill, order):
    bits = SMOOTH[..., 0] > 120
    strip, tags = strip_of(saved(Image.fromarray(bits), "TIFF", compression=kind))

    def fax(strip):
        written = bytes(int(f"{v:08b}"[::-1], 2) for v in strip) if fill == 2 else strip
        return tiff(written, {**tags, 258: 1, 266: fill}, order)

    assert (whole(fax(strip))[1] == bits * 255).all()
    for part in short(strip):
        refused(fax(part), Reason.CORRUPT, "corrupt")
    if kind != "group3":  # there rows have marks, and libtiff finds the next one
        middle = len(strip) // 2
        refused(fax(strip[:middle] + bytes(9) + strip[middle + 9 :]), Reason.CORRUPT, "corrupt")


def test_a_fax_of_a_bigtiff_and_one_in_strips_are_read():
    bits = SMOOTH[..., 0] > 120
    strip, tags = strip_of(saved(Image.fromarray(bits), "TIFF", compression="group4"))
    top, bottom = (
        strip_of(saved(Image.fromarray(half), "TIFF", compression="group4"))[0] for half in (bits[:30], bits[30:])
    )
    several = {258: 1, **tags, 273: (0, len(top)), 278: 30, 279: (len(top), len(bottom))}
    assert (whole(tiff(top + bottom, several))[1] == bits * 255).all()
    refused(tiff(top + bottom, {**several, 279: (len(top), len(bottom) // 2)}), Reason.CORRUPT, "behind its strip")
    for keep in (len(strip), len(strip) // 2):
        table = b"".join(
            struct.pack("<HHQQ", tag, 4, 1, value)
            for tag, value in sorted({**tags, 258: 1, 273: 16, 277: 1, 279: keep}.items())
        )
        data = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16 + len(strip)) + strip
        data += struct.pack("<Q", len(table) // 20) + table + bytes(8)
        if keep == len(strip):
            assert (whole(data)[1] == bits * 255).all()
        else:
            refused(data, Reason.CORRUPT, "behind its strip")


@pytest.mark.parametrize("kind", ["group3", "group4", "tiff_ccitt"])
def test_a_fax_that_ends_inside_its_last_row_is_refused(kind):
    bits = np.random.default_rng(4).random((9, 83)) < 0.5  # of others a cut may leave codes of another row
    strip, tags = strip_of(saved(Image.fromarray(bits), "TIFF", compression=kind))
    for keep in range(len(strip) - 20, len(strip)):
        try:
            found = whole(tiff(strip[:keep], {**tags, 258: 1}))[1]
        except PictureError:
            continue
        assert (found == bits * 255).all()  # only what marks the end was lost


def test_a_tiff_whose_numbers_are_words_is_corrupt():
    data = tiff(RGB.tobytes(), {258: (8, 8, 8), 262: 2, 277: 3})
    for tag in (273, 279):
        at = data.index(struct.pack("<HHI", tag, 4, 1))
        words = data[: at + 2] + struct.pack("<HI", 2, 4) + data[at + 8 :]  # type 2: ASCII
        refused(words, Reason.CORRUPT, f"tag {tag}")


def test_the_pixel_limit_is_the_callers_and_no_global_is_changed():
    before, data = Image.MAX_IMAGE_PIXELS, saved(RGB, "PNG")
    assert whole(data, max_pixels=H * W)[0].size == (H, W)
    refused(data, Reason.TOO_LARGE, f"{W} x {H} pixels, 700 are allowed", max_pixels=700)
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_program_that_accepts_truncated_files_is_told_so(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(RuntimeError, match="LOAD_TRUNCATED_IMAGES"):
        images.decode(saved(RGB, "PNG"))


def test_a_name_is_shown_escaped_in_a_refusal():
    with pytest.raises(PictureError, match=r"a\\x1b\[31mb is not an image"):
        images.decode(b"no", name="a\x1b[31mb")


def test_libtiff_says_nothing_on_stderr(capfd):
    data = saved(SMOOTH, "TIFF", compression="tiff_lzw")
    damaged = data[:60] + bytes(400) + data[460:]
    with pytest.raises(PictureError):
        images.decode(damaged)
    assert capfd.readouterr().err == ""


def test_reading_imports_no_other_decoder_and_no_torch():
    code = (
        "import sys, json; from glimpse_cli import images; images.decode(open(sys.argv[1], 'rb').read())\n"
        "print(json.dumps([m for m in sys.modules if m.startswith('PIL.') and m.endswith('Plugin') or m == 'torch']))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, "/dev/stdin"], input=saved(RGB, "PNG"), capture_output=True, check=True
    )
    assert json.loads(run.stdout) == ["PIL.PngImagePlugin"]


# --- preview --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("longest", [10, 31, 62, 100])
def test_a_preview_fits_and_is_never_enlarged(longest):
    for data in (
        saved(SMOOTH, "PNG"),
        oriented("PNG", 6),
        saved(GREY16, "PNG"),
        saved(SMOOTH.astype(np.float32)[..., 0], "TIFF"),
    ):
        picture = images.decode(data)
        preview = picture.preview(longest)
        assert preview.dtype == np.uint8
        assert preview.shape[2] == 3
        scale = min(1, longest / max(picture.size))
        assert np.abs(np.array(preview.shape[:2]) - np.array(picture.size) * scale).max() <= 0.5


def test_a_preview_is_the_mean_of_what_it_shows():
    blocks = RNG.integers(0, 256, (5, 7, 3), np.uint8)
    big = blocks.repeat(16, axis=0).repeat(16, axis=1)
    assert np.abs(images.decode(saved(big, "PNG")).preview(7).astype(int) - blocks).max() <= 1
    linear = images.decode(saved(big, "PNG", icc_profile=LINEAR_RGB)).preview(7)
    assert np.abs(linear / 255 - srgb_of(blocks / 255)).max() < 3 / 255
    image = Image.fromarray(big).quantize(35)
    assert (
        np.abs(images.decode(saved(image, "PNG")).preview(7) - np.asarray(image.convert("RGB"))[8::16, 8::16]).max()
        <= 1
    )


def test_a_preview_lays_alpha_over_mid_grey_without_halos():
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[:, :, 0], pixels[:, 5:, 3] = 255, 255
    pixels[:, :5, :3] = (0, 255, 0)  # invisible green must not bleed into the red beside it
    preview = images.decode(saved(pixels, "PNG")).preview(8)
    assert np.abs(preview[:, 2:].astype(int) - (255, 0, 0)).max() <= 1
    assert preview[:, 0, 1].max() <= 130
    assert (images.decode(saved(RGBA * np.array([1, 1, 1, 0], np.uint8), "PNG")).preview(99) == 128).all()


def test_a_preview_of_a_float_picture_spans_its_values():
    values = np.linspace(-50, 150, H * W, dtype=np.float32).reshape(H, W)
    preview = images.decode(saved(values, "TIFF")).preview(99)
    assert preview.min() == 0
    assert preview.max() == 255
    assert (images.decode(saved(GREY / np.float32(255), "TIFF")).preview(99)[..., 0] == GREY).mean() > 0.4
    inside = values / 400 + np.float32(0.5)  # leaves neither black nor white, and is not stretched to them
    preview = images.decode(saved(inside, "TIFF")).preview(99)[..., 0]
    assert np.abs(preview - inside * 255).max() <= 1


def test_a_preview_shows_what_is_no_number_in_the_colour_that_drawings_have_for_it_however_reduced():
    values = np.linspace(0, 1, 400 * 310, dtype=np.float32).reshape(400, 310)
    values[7, 200], values[9, 9], values[390, 9] = np.nan, np.inf, -np.inf
    picture = images.decode(saved(values, "TIFF"))
    preview = picture.preview(400)
    assert tuple(preview[7, 200]) == UNKNOWN
    assert (preview == UNKNOWN).all(axis=2).sum() == 1
    assert (preview[9, 9] == 255).all()
    assert (preview[390, 9] == 0).all()
    small = (picture.preview(50) == UNKNOWN).all(axis=2)
    assert small[0, 25]
    assert 0 < small[:3].sum() < 9


# --- out ------------------------------------------------------------------------------------------------------

EXACT = [("png", 8), ("png", 16), ("webp", 8), ("tiff", 8), ("tiff", 16)]


@pytest.mark.parametrize(("kind", "depth"), EXACT)
@pytest.mark.parametrize("channels", [0, 1, 2, 3, 4])
def test_a_glimpse_is_rounded_once_and_read_back_as_written(kind, depth, channels):
    glimpse = RNG.random((5, 7, channels) if channels else (5, 7)) * 1.2 - 0.1
    data = images.encode(glimpse.astype(np.float32), format=kind, depth=depth)
    peak = 2**depth - 1
    want = np.floor(np.clip(glimpse.astype(np.float32), 0, 1) * np.float32(peak) + np.float32(0.5)).squeeze()
    if (kind, depth, channels) == ("tiff", 16, 2):
        return  # Pillow has no mode for it
    picture, window = whole(data)
    assert picture.peak == peak
    if kind == "webp" and channels < 3:  # WebP has no grey
        window = window[..., [0, 3]] if channels == 2 else window[..., 0]
    assert (window == want).all()


def test_halves_round_up_and_nan_is_black():
    glimpse = np.array([[0.5 / 255, 1.5 / 255, 254.5 / 255, np.nan, np.inf, -np.inf, 2]])
    assert whole(images.encode(glimpse, format="png"))[1].tolist() == [[1, 2, 255, 0, 255, 0, 255]]


@pytest.mark.parametrize("depth", [8, 16])
def test_every_half_between_two_levels_rounds_up_in_float32(depth):
    halves = ((np.arange(2**depth - 1) + 0.5) / (2**depth - 1)).astype(np.float32)[None]
    assert (whole(images.encode(halves, format="png", depth=depth))[1] == np.arange(1, 2**depth)).all()


def test_npy_and_float_tiff_keep_every_value():
    glimpse = (RNG.random((5, 7, 3)) * 300 - 9).astype(np.float32)
    assert np.array_equal(np.load(io.BytesIO(images.encode(glimpse, format="npy"))), glimpse)
    assert np.load(io.BytesIO(images.encode(glimpse[..., :1], format="npy"))).shape == (5, 7)
    assert (whole(images.encode(glimpse[..., 0], format="tiff", depth=32))[1] == glimpse[..., 0]).all()
    assert images.encode(glimpse, format="tiff", depth=32).endswith(glimpse.tobytes())


def test_a_jpeg_is_444_at_quality_95_with_alpha_over_white():
    red = np.zeros((16, 16, 4))
    red[::2, :, 0] = red[..., 3] = 1
    data = images.encode(red, format="jpg")
    assert Image.open(io.BytesIO(data)).layer == [(b"\1"[0], 1, 1, 0), (2, 1, 1, 1), (3, 1, 1, 1)]
    assert np.abs(whole(data)[1] / 255 - red[..., :3]).mean() < 0.02
    assert (whole(images.encode(red * [1, 1, 1, 0], format="jpg"))[1] == 255).all()
    grey = np.dstack([np.full((16, 16), 0.25), np.full((16, 16), 0.5)])
    assert np.abs(whole(images.encode(grey, format="jpg"))[1].astype(int) - 159).max() <= 1
    assert len(images.encode(red, format="jpg", quality=10)) < len(data)


def test_webp_is_lossy_only_where_a_quality_is_given():
    glimpse = RNG.random((16, 24, 3))
    assert len(images.encode(glimpse, format="webp", quality=5)) < len(images.encode(glimpse, format="webp")) / 4


@pytest.mark.parametrize("kind", images.DEPTHS)
def test_the_same_glimpse_gives_the_same_bytes(kind):
    glimpse = RNG.random((5, 7, 3))
    assert images.encode(glimpse, format=kind) == images.encode(glimpse.copy(), format=kind)


def test_drawings_are_written_as_they_are():
    for kind in ("png", "webp", "tiff"):
        assert (whole(images.encode_picture(RGB, kind))[1] == RGB).all()
    assert np.abs(whole(images.encode_picture(SMOOTH, "jpg"))[1].astype(int) - SMOOTH).mean() < 4
    with pytest.raises(ParameterError, match="npy is no picture"):
        images.encode_picture(RGB, "npy")


def test_a_png_is_smaller_than_its_pixels():
    ramp = np.linspace(0, 1, 64)[:, None] + np.linspace(0, 0.2, 80)
    assert len(images.encode(ramp, format="png")) < ramp.size / 2
    assert len(images.encode(ramp, format="png", depth=16)) < ramp.size * 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"format": "gif"}, "no format 'gif'"),
        ({"format": "jpg", "depth": 16}, "8 bits"),
        ({"format": "png", "depth": 32}, "8 or 16 bits"),
        ({"format": "png", "quality": 90}, "no quality"),
        ({"format": "jpg", "quality": 0}, "1 to 100"),
        ({"format": "webp", "quality": 101}, "1 to 100"),
    ],
)
def test_a_way_of_writing_that_does_not_exist_is_said_so(options, says):
    with pytest.raises(ParameterError, match=says):
        images.encode(np.zeros((5, 7)), **options)


def test_every_allowed_format_is_told_by_its_first_bytes():
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF"):
        assert strict.format_of(saved(SMOOTH, kind), "x") == kind
        assert whole(saved(SMOOTH, kind))[0].format == kind
