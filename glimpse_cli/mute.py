"""Loaded first by the server that workers are forked from: from then on it hears no SIGHUP and says nothing.

`batch.pool` begins it like that; but where it died, as where the system has no process left, Python's library begins
another. Not in `batch`, which brings all that may fail to load.
"""

import os
import signal
import sys

# the server, by what it was begun with: Python's library may have replaced ``sys.argv``; all others keep their voice
if any("multiprocessing.forkserver" in word for word in sys.orig_argv):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
