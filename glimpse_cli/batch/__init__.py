"""Whole folders: a plan, workers, a journal, and manifests; nothing lost.

`plan` finds out what is to be done, `run` does it or what is left of it. The rooms: ``plan`` (names, before anything
starts), ``worker`` (one picture), ``pool`` (processes that may die), ``journal`` (what is done, on disk), ``own`` and
``written`` (whose a file is), ``manifest`` and ``gather`` (what stands beside the glimpses, and what they are put
together in), ``runner``.
"""

from glimpse_cli.batch.plan import Failure, Item, Plan, Settings, Want, plan
from glimpse_cli.batch.runner import News, Progress, Summary, run

__all__ = ["Failure", "Item", "News", "Plan", "Progress", "Settings", "Summary", "Want", "plan", "run"]
