"""A BMP of run lengths may leave pixels out, which then have colour 0; Pillow loses count of them."""

_ROW, _END, _SKIP = 0, 1, 2  # what a zero and one of these stand for: the end of a row, of all, pixels left out


def with_every_row(data: bytes, start: int, bits: int, height: int) -> bytes:
    """The same BMP, in which rows that have no codes are skipped; codes that have no end stay as they are.

    At the end of an empty row Pillow stays in it, and a picture that ends before its last row it calls cut.

    Args:
        data: the whole file.
        start: where the codes begin.
        bits: of a pixel, 8 or 4.
        height: in pixels.
    """
    codes, at, x = bytearray(), start, 0
    while at + 1 < len(data):
        count, value, right = data[at : at + 3].ljust(3, b"\0")
        code, length = data[at : at + 2], 2
        if count:
            x += count
        elif value == _ROW:
            code, x = code if x else bytes((0, _SKIP, 0, 1)), 0
        elif value == _END:
            return data[:start] + codes + bytes((0, _SKIP, 0, 255)) * (height // 255 + 1)
        elif value == _SKIP:
            length, x = 4, x + right
        else:  # so many single pixels, in whole pairs of bytes
            length, x = 2 + -(-value * bits // 16) * 2, x + value
        codes += code + data[at + 2 : at + length]
        at += length
    return data
