"""Loaded first by the server that workers are forked from: from then on it hears no SIGHUP and says nothing.

`pool` begins it like that; but where it died, as where the system has no process left, Python's library begins another.
"""

import os
import signal
import sys

if sys.argv[:1] == ["-c"]:  # the server; a tool that loads every module keeps its voice
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
