"""One place through several methods and devices: what each gives, what it costs, and how far they are apart.

``contenders`` are read from text, ``lenses`` are methods written out as matrices, ``measures`` are the numbers of two
glimpses, ``rows`` puts a picture through all of it, ``words`` says what came out, and ``page`` shows it in a browser.
"""

from glimpse_cli.compare.columns import basis
from glimpse_cli.compare.contenders import Contender, Limit, parse_limit, parse_methods
from glimpse_cli.compare.figure import figure
from glimpse_cli.compare.page import Section, page, section
from glimpse_cli.compare.rows import Comparison, Plan, compare, document, failures, means, threads
from glimpse_cli.compare.words import EXPLAINED, notes

__all__ = [
    "EXPLAINED",
    "Comparison",
    "Contender",
    "Limit",
    "Plan",
    "Section",
    "basis",
    "compare",
    "document",
    "failures",
    "figure",
    "means",
    "notes",
    "page",
    "parse_limit",
    "parse_methods",
    "section",
    "threads",
]
