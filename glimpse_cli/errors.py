"""What can go wrong that a user can mend.

The tree, with the exit code of the command line::

    GlimpseError                1
    ├── UsageError              2   the command line, or a whole table, is wrong: nothing was started
    │   └── ParameterError      2   a number that no glimpse can have (also a ValueError)
    ├── InputError              1   an input is missing or cannot be opened
    │   └── PictureError        1   an input was opened and is not a picture that can be used: one of six reasons
    ├── OutputError             1   an output exists, or cannot be written
    └── DeviceError             1   torch, or a GPU, is missing

Every error says what is wrong (with the file, the line or the value), why, and what to try.
Bugs are not in this tree: they keep their traceback.
"""

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """Why a file that was opened is refused: the six reasons, as they stand in ``errors.jsonl``."""

    EMPTY = "empty"
    NOT_AN_IMAGE = "not an image"
    UNSUPPORTED = "unsupported format"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    TOO_LARGE = "too large"


class GlimpseError(Exception):
    """Anything that went wrong and that a user can mend.

    Args:
        what: one line: what is wrong, with the name or the value in it.
        why: one line: the cause, if ``what`` does not say it.
        hint: one line: a flag or a command to try.
    """

    exit_code = 1

    def __init__(self, what: str, *, why: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)  # the other two travel in __dict__, so errors survive pickling between processes
        self.what = what
        self.why = why
        self.hint = hint

    def at(self, where: str | None) -> Self:
        """The same error with its place before it: ``boxes.csv, line 3``; without a place, itself."""
        if where is None:
            return self
        what = f"{where}: {self.what}"
        told = type(self).__new__(type(self), what)  # whatever its own arguments are
        told.__dict__.update(self.__dict__, what=what)
        return told

    def __str__(self) -> str:
        text = self.what
        if self.why:
            text += f": {self.why}"
        if self.hint:
            text += f" (try: {self.hint})"
        return text


class UsageError(GlimpseError):
    """The command line, or a table as a whole, is wrong; nothing was started."""

    exit_code = 2


class ParameterError(UsageError, ValueError):
    """A number that no glimpse can have: ``s must be above 0 px, got 0``."""


class InputError(GlimpseError):
    """An input is missing, not a regular file, or cannot be opened."""


class PictureError(InputError):
    """A file that was opened and is not a picture that can be used.

    Args:
        what: as for `GlimpseError`.
        reason: one of the six `Reason`.
        why: as for `GlimpseError`.
        hint: as for `GlimpseError`.
    """

    def __init__(
        self, what: str, reason: Reason = Reason.CORRUPT, *, why: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(what, why=why, hint=hint)
        self.reason = reason


class OutputError(GlimpseError):
    """An output exists already, or cannot be written."""


class DeviceError(GlimpseError):
    """A device was asked for that is not there: no torch, or no GPU."""
