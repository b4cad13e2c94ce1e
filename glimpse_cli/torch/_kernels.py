"""The products of `glimpse_cli.torch._fused` in Triton: masks made on the fly, only the support read.

A glimpse is ``By . I . Bx^T``, and both of its gradients have the same form. So each program owns one tile of what
comes out and walks over what meets it, in strips: the weights of a strip are made in registers, first those of y, then
those of x, and multiplied by the matrix units. Nothing is written but the result, and each number of it once, so that
the same call gives the same bits.

Letters: M glimpses of B images, N an image; C channels; an axis has n samples on P pixels. An axis is two arrays:
``spans`` (3, M, n) int32, of each sample the nearest pixel and the first and last that it reaches, and ``numbers`` (6,
M, n): its offset from the nearest pixel, the rate at which its bell falls (``sharp`` in powers of two), the scale that
makes its bell sum to 1 (on x to 1 by the peak of integer pixels, which become shares of it), what is subtracted in the
derivatives by ``off`` and ``sharp`` (see `_slopes`), and the rest of the offset, which rounding took (see `_fall`);
``plane`` is M n. Sizes of tiles are powers of two, 16 at least. One, two or three CHANNELS share their weights.
"""

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
NONE = tl.constexpr(2147483647)  # the first pixel of a sample that is none


@triton.jit
def _fall(m, off, rest):
    """How far bells have fallen, ``m (m - 2 off)``, as if ``off`` were float64: as `glimpse_cli.torch._axes._fall`."""
    return m * (m - 2 * off - 2 * rest)


@triton.jit
def _bells(near, off, rest, rate, pixels, HAT: tl.constexpr):
    """The weights of pixels for samples, before they are scaled: the Gaussian's nearest pixel has 1."""
    m = pixels - near
    if HAT:
        w = (1 - off) * (m == 0).to(off.dtype) + off * (m == 1).to(off.dtype)
    else:  # beyond the image, where nothing is read, the exponent could be above 0
        w = tl.exp2(tl.minimum(_fall(m, off, rest) * -rate, 0.0, propagate_nan=tl.PropagateNan.ALL))
    return w


@triton.jit
def _slopes(near, off, rest, rate, mean, spread, pixels, w, HAT: tl.constexpr):
    """How the weights w of pixels change with ``off`` and with ``sharp``, before they are scaled."""
    m = pixels - near
    if HAT:
        to_off = (m == 1).to(off.dtype) - (m == 0).to(off.dtype)
        to_sharp = tl.zeros_like(to_off)
    else:
        to_off = 2 * (rate / LOG2_E) * w * (m - mean)
        to_sharp = w * (spread - _fall(m, off, rest))
    return to_off, to_sharp


@triton.jit
def _head(a):
    """The eleven leading bits of float32 numbers, all that the matrix units see of them."""
    return (a.to(tl.int32, bitcast=True) & -8192).to(tl.float32, bitcast=True)


@triton.jit
def _product(a, b, total):
    """``total + a @ b``; float32 as three products of heads and rests, which keeps it whole to some 1e-6.

    The units truncate their sums: so they sum a strip, and what is added to the total is rounded.
    """
    if a.dtype == tl.float64:
        total = tl.dot(a, b, total, input_precision="ieee", out_dtype=tl.float64)
    else:
        head_a, head_b = _head(a), _head(b)
        strip = tl.dot(a - head_a, head_b, input_precision="tf32")
        strip = tl.dot(head_a, b - head_b, strip, input_precision="tf32")
        total += tl.dot(head_a, head_b, strip, input_precision="tf32")
    return total


@triton.jit
def _product_of_halves(w, halves, total):
    """``total + w @ halves``: of what float16 holds exactly; of a weight, two of them leave 2^-22."""
    coarse = w.to(tl.float16)
    strip = tl.dot((w - coarse.to(tl.float32)).to(tl.float16), halves)
    return total + tl.dot(coarse, halves, strip)


@triton.jit
def _product_of_pixels(w, pixels, total):
    """``total + w @ pixels``; of pixels that are all head, two products do."""
    if w.dtype == tl.float64:
        total = _product(w, pixels.to(tl.float64), total)
    elif pixels.dtype == tl.uint8:  # 1024 + p as the bits of a half: conversions of integers are slow
        total = _product_of_halves(w, (pixels.to(tl.uint16) | 0x6400).to(tl.float16, bitcast=True) - 1024, total)
    elif pixels.dtype == tl.float16:
        total = _product_of_halves(w, pixels, total)
    elif pixels.dtype == tl.bfloat16:
        head = _head(w)
        strip = tl.dot(w - head, pixels.to(tl.float32), input_precision="tf32")
        total += tl.dot(head, pixels.to(tl.float32), strip, input_precision="tf32")
    else:
        total = _product(w, pixels.to(tl.float32), total)
    return total


@triton.jit
def _samples(spans, numbers, plane, i, n, m):
    """Samples i of glimpse m: nearest pixel, first, last, offset, rest, rate, scale; weightless where i is beyond."""
    at = m.to(tl.int64) * n + i
    there = i < n
    off = tl.load(numbers + at, mask=there, other=0.0)
    near = tl.load(spans + at, mask=there, other=0).to(off.dtype)
    low = tl.load(spans + plane + at, mask=there, other=NONE)
    high = tl.load(spans + 2 * plane + at, mask=there, other=-1)
    rate = tl.load(numbers + plane + at, mask=there, other=0.0)
    scale = tl.load(numbers + 2 * plane + at, mask=there, other=0.0)
    rest = tl.load(numbers + 5 * plane + at, mask=there, other=0.0)
    return near, low, high, off, rest, rate, scale


@triton.jit
def _middles(numbers, plane, i, n, m):
    """Of samples i of glimpse m, what `_slopes` subtracts."""
    at = m.to(tl.int64) * n + i
    mean = tl.load(numbers + 3 * plane + at, mask=i < n, other=0.0)
    spread = tl.load(numbers + 4 * plane + at, mask=i < n, other=0.0)
    return mean, spread


@triton.jit
def _met(spans, plane, m, n, first, last, ALL: tl.constexpr):
    """The samples [start, stop) of glimpse m between which lie all that reach pixels first to last."""
    i = tl.arange(0, ALL)
    at = m.to(tl.int64) * n + i
    low = tl.load(spans + plane + at, mask=i < n, other=NONE)
    high = tl.load(spans + 2 * plane + at, mask=i < n, other=-1)
    meets = (low <= last) & (high >= first)
    return tl.min(tl.where(meets, i, n)), tl.max(tl.where(meets, i + 1, 0))


@triton.jit(do_not_specialize=["plane"])
def axis_kernel(
    near, off, sharp, spans, numbers, plane, n, P, eps, peak,
    REACH: tl.constexpr, HAT: tl.constexpr, BLOCK: tl.constexpr, STRIP: tl.constexpr,
):  # fmt: skip
    """Spans and numbers of one block of samples of one glimpse."""
    blocks = tl.cdiv(n, BLOCK)
    m = tl.program_id(0) // blocks
    i = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    there = i < n
    at = m.to(tl.int64) * n + i
    k = tl.load(sharp + m)
    whole = tl.load(off + at, mask=there, other=0.0)  # float64
    o = whole.to(k.dtype)
    rest = (whole - o.to(tl.float64)).to(k.dtype)
    k += tl.zeros_like(o)
    # hats of padding zeros may lie outside, but no farther than this; what is no number becomes a place as well
    c = tl.minimum(tl.maximum(tl.load(near + at, mask=there, other=0), -2), P + 1).to(tl.int32)
    scale = tl.zeros_like(o) + 1
    mean = tl.zeros_like(o)
    spread = tl.zeros_like(o)
    if HAT:
        low = tl.minimum(tl.maximum(c, 0), P - 1)
        high = tl.minimum(tl.maximum(c + 1, 0), P - 1)
    else:
        # A pixel matters within hypot(off, reach s): from off - that to off + that, the smaller without cancelling.
        square = REACH * REACH / 2 / tl.maximum(k, 1e-30)
        far = tl.abs(o) + tl.sqrt(o * o + square)
        close = square / far
        before = tl.where(o > 0, close, far)
        after = tl.where(o > 0, far, close)
        low = tl.maximum(c - tl.where(before < P, before, P).to(tl.int32), 0)
        high = tl.minimum(c + tl.where(after < P, after, P).to(tl.int32), P - 1)
        total = tl.zeros_like(o)
        around = c.to(o.dtype)[:, None]
        for start in range(tl.min(tl.where(there, low, P)), tl.max(tl.where(there, high, -1)) + 1, STRIP):
            pixels = start + tl.arange(0, STRIP)
            bells = _bells(around, o[:, None], rest[:, None], k[:, None] * LOG2_E, pixels.to(o.dtype)[None, :], HAT)
            w = tl.where((pixels < P)[None, :], bells, 0.0)
            d = pixels.to(o.dtype)[None, :] - around
            total += tl.sum(w, axis=1)
            mean += tl.sum(w * d, axis=1)
            spread += tl.sum(w * _fall(d, o[:, None], rest[:, None]), axis=1)
        height = tl.exp2(-o * o * k * LOG2_E)  # of the bell at the nearest pixel, to which all is relative
        scale = tl.where(eps > 0, height / (total * height + eps), 1 / total)
        dark = tl.where(eps > 0, eps / (total * height + eps), 0.0)
        mean = mean * scale + dark * o
        spread = spread * scale - dark * o * o
    tl.store(spans + at, c, mask=there)
    tl.store(spans + plane + at, low, mask=there)
    tl.store(spans + 2 * plane + at, high, mask=there)
    tl.store(numbers + at, o, mask=there)
    tl.store(numbers + plane + at, k * LOG2_E, mask=there)
    tl.store(numbers + 2 * plane + at, scale / peak, mask=there)
    tl.store(numbers + 3 * plane + at, mean, mask=there)
    tl.store(numbers + 4 * plane + at, spread, mask=there)
    tl.store(numbers + 5 * plane + at, rest, mask=there)


@triton.jit
def _tile(h, w, groups, TALL: tl.constexpr, WIDE: tl.constexpr):
    """Which tile of which group of channels of which plane (h, w) this program owns: plane, group, tile's y and x."""
    across = tl.cdiv(w, WIDE)
    down = tl.cdiv(h, TALL)
    x = tl.program_id(0) % across
    y = tl.program_id(0) // across % down
    group = tl.program_id(0) // across // down % groups
    return tl.program_id(0) // across // down // groups, group, y, x


@triton.jit
def _in_words(left, right, FLOATING: tl.constexpr):
    """Columns [left, right) and up to three more on each side, which let aligned rows be read in words of four.

    Of integers up to fifteen. A NaN there would spoil the sums, though no sample reaches it.
    """
    if FLOATING:
        left, right = left // 4 * 4, tl.cdiv(right, 4) * 4
    else:
        left, right = left // 16 * 16, tl.cdiv(right, 16) * 16
    return left, right


@triton.jit
def _share(values, FLOATING: tl.constexpr):
    """Of integer pixels, shares of their peak, to which rounding may have added a last digit."""
    if not FLOATING:
        values = tl.minimum(values, 1.0, propagate_nan=tl.PropagateNan.ALL)
    return values


@triton.jit(do_not_specialize=["plane_y", "plane_x", "N"])
def glimpses_kernel(
    images, out, spans_y, numbers_y, plane_y, spans_x, numbers_x, plane_x,
    stride_b, stride_c, stride_y, stride_x, N, C, W, h, w,
    HAT: tl.constexpr, CHANNELS: tl.constexpr,
    TALL: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """A tile (TALL, WIDE) of a glimpse: strips of COLUMNS, each weighed by y in strips of ROWS and then by x."""
    m, group, down, across = _tile(h, w, C // CHANNELS, TALL, WIDE)
    i = down * TALL + tl.arange(0, TALL)
    j = across * WIDE + tl.arange(0, WIDE)
    near_y, low_y, high_y, off_y, rest_y, rate_y, scale_y = _samples(spans_y, numbers_y, plane_y, i, h, m)
    near_x, low_x, high_x, off_x, rest_x, rate_x, scale_x = _samples(spans_x, numbers_x, plane_x, j, w, m)
    number = off_y.dtype
    image = images + (m // N).to(tl.int64) * stride_b + (group * CHANNELS).to(tl.int64) * stride_c
    top, bottom = tl.min(low_y), tl.max(high_y) + 1
    left, right = _in_words(tl.min(low_x), tl.max(high_x) + 1, images.dtype.element_ty.is_floating())
    glimpse_0 = tl.zeros((TALL, WIDE), number)
    glimpse_1, glimpse_2 = glimpse_0, glimpse_0
    for x0 in range(left // 16 * 16, right, COLUMNS):
        x = x0 + tl.arange(0, COLUMNS)
        reached = ((x >= left) & (x < right) & (x < W))[None, :]
        rows_0 = tl.zeros((TALL, COLUMNS), number)
        rows_1, rows_2 = rows_0, rows_0
        for y0 in range(top, bottom, ROWS):
            y = y0 + tl.arange(0, ROWS)
            there = (y < bottom)[:, None] & reached
            at = image + y.to(tl.int64)[:, None] * stride_y + x.to(tl.int64)[None, :] * stride_x
            w_y = _bells(near_y[:, None], off_y[:, None], rest_y[:, None], rate_y[:, None], y.to(number)[None, :], HAT)
            rows_0 = _product_of_pixels(w_y, tl.load(at, mask=there, other=0), rows_0)
            if CHANNELS > 1:
                rows_1 = _product_of_pixels(w_y, tl.load(at + stride_c, mask=there, other=0), rows_1)
            if CHANNELS > 2:
                rows_2 = _product_of_pixels(w_y, tl.load(at + stride_c + stride_c, mask=there, other=0), rows_2)
        w_x = _bells(near_x[None, :], off_x[None, :], rest_x[None, :], rate_x[None, :], x.to(number)[:, None], HAT)
        glimpse_0 = _product(rows_0, w_x, glimpse_0)
        if CHANNELS > 1:
            glimpse_1 = _product(rows_1, w_x, glimpse_1)
        if CHANNELS > 2:
            glimpse_2 = _product(rows_2, w_x, glimpse_2)
    target = out + ((m.to(tl.int64) * C + group * CHANNELS) * h + i)[:, None] * w + j[None, :]
    there = (i < h)[:, None] & (j < w)[None, :]
    scale = scale_y[:, None] * scale_x[None, :]
    FLOATING: tl.constexpr = images.dtype.element_ty.is_floating()
    tl.store(target, _share(glimpse_0 * scale, FLOATING), mask=there)
    if CHANNELS > 1:
        tl.store(target + h * w, _share(glimpse_1 * scale, FLOATING), mask=there)
    if CHANNELS > 2:
        tl.store(target + 2 * h * w, _share(glimpse_2 * scale, FLOATING), mask=there)


@triton.jit(do_not_specialize=["plane_y", "plane_x", "N"])
def images_gradient_kernel(
    grad, images_grad, spans_y, numbers_y, plane_y, spans_x, numbers_x, plane_x, plane, N, C, H, W, h, w,
    HAT: tl.constexpr, CHANNELS: tl.constexpr, ALL_Y: tl.constexpr, ALL_X: tl.constexpr,
    TALL: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """A tile (TALL, WIDE) of an image's gradient ``By^T . G . Bx``, over all N glimpses of it that meet the tile."""
    b, group, down, across = _tile(H, W, C // CHANNELS, TALL, WIDE)
    y = down * TALL + tl.arange(0, TALL)
    x = across * WIDE + tl.arange(0, WIDE)
    number = numbers_y.dtype.element_ty
    total_0 = tl.zeros((TALL, WIDE), number)
    total_1, total_2 = total_0, total_0
    for g in range(N):
        m = b * N + g
        top, bottom = _met(spans_y, plane_y, m, h, down * TALL, down * TALL + TALL - 1, ALL_Y)
        left, right = _met(spans_x, plane_x, m, w, across * WIDE, across * WIDE + WIDE - 1, ALL_X)
        right = tl.where(top < bottom, right, left)
        given = grad + (m.to(tl.int64) * C + group * CHANNELS) * h * w
        for j0 in range(left, right, COLUMNS):
            j = j0 + tl.arange(0, COLUMNS)
            columns_0 = tl.zeros((TALL, COLUMNS), number)
            columns_1, columns_2 = columns_0, columns_0
            for i0 in range(top, bottom, ROWS):
                i = i0 + tl.arange(0, ROWS)
                near, _, _, off, rest, rate, scale = _samples(spans_y, numbers_y, plane_y, i, h, m)
                w_y = _bells(near[None, :], off[None, :], rest[None, :], rate[None, :], y.to(number)[:, None], HAT)
                w_y *= scale[None, :]
                at = given + i[:, None] * w + j[None, :]
                there = (i < bottom)[:, None] & (j < right)[None, :]
                columns_0 = _product(w_y, tl.load(at, mask=there, other=0.0), columns_0)
                if CHANNELS > 1:
                    columns_1 = _product(w_y, tl.load(at + h * w, mask=there, other=0.0), columns_1)
                if CHANNELS > 2:
                    columns_2 = _product(w_y, tl.load(at + 2 * h * w, mask=there, other=0.0), columns_2)
            near, _, _, off, rest, rate, scale = _samples(spans_x, numbers_x, plane_x, j, w, m)
            w_x = _bells(near[:, None], off[:, None], rest[:, None], rate[:, None], x.to(number)[None, :], HAT)
            w_x *= scale[:, None]
            total_0 = _product(columns_0, w_x, total_0)
            if CHANNELS > 1:
                total_1 = _product(columns_1, w_x, total_1)
            if CHANNELS > 2:
                total_2 = _product(columns_2, w_x, total_2)
    target = images_grad + (b.to(tl.int64) * C + group * CHANNELS) * plane + y.to(tl.int64)[:, None] * W + x[None, :]
    there = (y < H)[:, None] & (x < W)[None, :]
    tl.store(target, total_0, mask=there)
    if CHANNELS > 1:
        tl.store(target + plane, total_1, mask=there)
    if CHANNELS > 2:
        tl.store(target + plane + plane, total_2, mask=there)


@triton.jit(do_not_specialize=["plane_y", "plane_x", "part_y", "part_x", "N"])
def places_gradient_kernel(
    grad, images, parts_y, parts_x, part_y, part_x, spans_y, numbers_y, plane_y, spans_x, numbers_x, plane_x,
    stride_b, stride_c, stride_y, stride_x, N, C, W, h, w,
    HAT: tl.constexpr, CHANNELS: tl.constexpr,
    TALL: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """What a tile (TALL, WIDE) of a group of channels adds to the gradients of its samples' ``off`` and ``sharp``.

    The weights' gradients are ``(G . Bx) . I^T`` for y and ``G^T . (By . I)`` for x, summed over channels; they are
    made strip by strip and multiplied by `_slopes`. ``parts_y`` is (2, groups, tiles across, M, h), ``parts_x``
    (2, groups, tiles down, M, w).
    """
    m, group, down, across = _tile(h, w, C // CHANNELS, TALL, WIDE)
    i = down * TALL + tl.arange(0, TALL)
    j = across * WIDE + tl.arange(0, WIDE)
    near_y, low_y, high_y, off_y, rest_y, rate_y, scale_y = _samples(spans_y, numbers_y, plane_y, i, h, m)
    near_x, low_x, high_x, off_x, rest_x, rate_x, scale_x = _samples(spans_x, numbers_x, plane_x, j, w, m)
    mean_y, spread_y = _middles(numbers_y, plane_y, i, h, m)
    mean_x, spread_x = _middles(numbers_x, plane_x, j, w, m)
    number = off_y.dtype
    looked = grad + ((m.to(tl.int64) * C + group * CHANNELS) * h + i)[:, None] * w + j[None, :]
    inside = (i < h)[:, None] & (j < w)[None, :]
    scale = scale_y[:, None] * scale_x[None, :]
    given_0 = tl.load(looked, mask=inside, other=0.0) * scale
    given_1, given_2 = given_0, given_0
    if CHANNELS > 1:
        given_1 = tl.load(looked + h * w, mask=inside, other=0.0) * scale
    if CHANNELS > 2:
        given_2 = tl.load(looked + 2 * h * w, mask=inside, other=0.0) * scale
    image = images + (m // N).to(tl.int64) * stride_b + (group * CHANNELS).to(tl.int64) * stride_c
    top, bottom = tl.min(low_y), tl.max(high_y) + 1
    left, right = _in_words(tl.min(low_x), tl.max(high_x) + 1, images.dtype.element_ty.is_floating())
    to_off_y, to_sharp_y = tl.zeros_like(off_y), tl.zeros_like(off_y)
    to_off_x, to_sharp_x = tl.zeros_like(off_x), tl.zeros_like(off_x)
    for x0 in range(left // 16 * 16, right, COLUMNS):
        x = x0 + tl.arange(0, COLUMNS)
        reached = ((x >= left) & (x < right) & (x < W))[None, :]
        w_x = _bells(near_x[:, None], off_x[:, None], rest_x[:, None], rate_x[:, None], x.to(number)[None, :], HAT)
        none = tl.zeros((TALL, COLUMNS), number)
        back_0 = _product(given_0, w_x, none)  # G . Bx
        back_1, back_2 = back_0, back_0
        if CHANNELS > 1:
            back_1 = _product(given_1, w_x, none)
        if CHANNELS > 2:
            back_2 = _product(given_2, w_x, none)
        rows_0, rows_1, rows_2 = none, none, none  # By . I
        for y0 in range(top, bottom, ROWS):
            y = y0 + tl.arange(0, ROWS)
            at = image + y.to(tl.int64)[:, None] * stride_y + x.to(tl.int64)[None, :] * stride_x
            there = (y < bottom)[:, None] & reached
            w_y = _bells(near_y[:, None], off_y[:, None], rest_y[:, None], rate_y[:, None], y.to(number)[None, :], HAT)
            pixels = tl.load(at, mask=there, other=0).to(number)
            rows_0 = _product(w_y, pixels, rows_0)
            to_w = _product(back_0, tl.trans(pixels), tl.zeros((TALL, ROWS), number))
            if CHANNELS > 1:
                pixels = tl.load(at + stride_c, mask=there, other=0).to(number)
                rows_1 = _product(w_y, pixels, rows_1)
                to_w = _product(back_1, tl.trans(pixels), to_w)
            if CHANNELS > 2:
                pixels = tl.load(at + stride_c + stride_c, mask=there, other=0).to(number)
                rows_2 = _product(w_y, pixels, rows_2)
                to_w = _product(back_2, tl.trans(pixels), to_w)
            by_off, by_sharp = _slopes(
                near_y[:, None], off_y[:, None], rest_y[:, None], rate_y[:, None], mean_y[:, None], spread_y[:, None],
                y.to(number)[None, :], w_y, HAT,
            )  # fmt: skip
            to_off_y += tl.sum(to_w * by_off, axis=1)
            to_sharp_y += tl.sum(to_w * by_sharp, axis=1)
        to_w = _product(tl.trans(given_0), rows_0, tl.zeros((WIDE, COLUMNS), number))
        if CHANNELS > 1:
            to_w = _product(tl.trans(given_1), rows_1, to_w)
        if CHANNELS > 2:
            to_w = _product(tl.trans(given_2), rows_2, to_w)
        by_off, by_sharp = _slopes(
            near_x[:, None], off_x[:, None], rest_x[:, None], rate_x[:, None], mean_x[:, None], spread_x[:, None],
            x.to(number)[None, :], w_x, HAT,
        )  # fmt: skip
        to_off_x += tl.sum(to_w * by_off, axis=1)
        to_sharp_x += tl.sum(to_w * by_sharp, axis=1)
    at_y = parts_y + (group * tl.cdiv(w, WIDE) + across).to(tl.int64) * plane_y + m.to(tl.int64) * h + i
    at_x = parts_x + (group * tl.cdiv(h, TALL) + down).to(tl.int64) * plane_x + m.to(tl.int64) * w + j
    tl.store(at_y, to_off_y, mask=i < h)
    tl.store(at_y + part_y, to_sharp_y, mask=i < h)
    tl.store(at_x, to_off_x, mask=j < w)
    tl.store(at_x + part_x, to_sharp_x, mask=j < w)
