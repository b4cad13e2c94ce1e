"""A BMP of run lengths may leave pixels out, which then have colour 0; Pillow loses count of them."""

import re

_RUNS = re.compile(rb"(?:[^\0].){1,4096}", re.DOTALL)  # how many pixels, and their colour
_ROW, _END, _SKIP = 0, 1, 2  # what a zero and one of these stand for: the end of a row, of all, pixels left out


def with_every_row(codes: bytes, bits: int, height: int) -> bytes:
    """The same run lengths, in which rows that have no codes are skipped; without an end, rows that follow are missing.

    At the end of an empty row Pillow stays in it, and a picture that ends before its last row it calls cut.

    Args:
        codes: the file from where they begin.
        bits: of a pixel, 8 or 4.
        height: in pixels.
    """
    written, at, begun = bytearray(), 0, False
    while at + 1 < len(codes):
        value, instead = codes[at + 1], b""
        if runs := _RUNS.match(codes, at):
            length, begun = runs.end() - at, True
        elif value == _ROW:
            length, instead, begun = 2, b"" if begun else bytes((0, _SKIP, 0, 1)), False
        elif value == _END:
            return bytes(written) + bytes((0, _SKIP, 0, 255)) * (height // 255 + 1)
        elif value == _SKIP:
            length, begun = 4, begun or codes[at + 2 : at + 3] > b"\0"
        else:  # so many single pixels, in whole pairs of bytes
            length, begun = 2 + -(-value * bits // 16) * 2, True
        written += instead or codes[at : at + length]
        at += length
    return bytes(written)
