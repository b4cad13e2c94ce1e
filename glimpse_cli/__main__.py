"""The command's entry point: ``glimpse``, or ``python -m glimpse_cli``."""

import os
import sys
from io import FileIO, TextIOWrapper


def main() -> None:
    """Set what must be set before the libraries are loaded, then run the command line."""
    # One picture is too small for several BLAS threads: starting them costs 30 to 110 ms.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Pillow keeps this many blocks of 16 MB for the next picture: 25 to 35 ms of page faults for each 12 MP.
    os.environ.setdefault("PILLOW_BLOCKS_MAX", "8")
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who called: nothing comes in, and nobody hears
            # data for a stdout that can only be read are lost with an error, as on a full disk, not in silence
            nothing = os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
            raw = FileIO(nothing, "r" if name == "stdin" else "w")
            setattr(sys, name, TextIOWrapper(raw, "utf-8", write_through=True))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name never stops the command that shows it
    try:
        from glimpse_cli.cli.app import app  # noqa: PLC0415 - after the lines above

        app(prog_name="glimpse")
    except KeyboardInterrupt:  # before the command line has an answer to it, or after
        sys.stderr.write("interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
