"""A comparison as one HTML page that needs nothing else: no network, pictures and script inside it, names escaped.

Its content security policy lets in the page's own style and script, by their hashes, and pictures written out as
data, and nothing else: a name that got through the escaping could still neither run nor load anything.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from html import escape
from importlib.resources import files as package_files
from pathlib import PurePath
from typing import Any

from glimpse_cli.compare.columns import OFF, about, basis, cell, cells, columns, head, off
from glimpse_cli.compare.contenders import METRICS
from glimpse_cli.compare.figure import Pixels, shown
from glimpse_cli.compare.rows import Comparison
from glimpse_cli.compare.words import EXPLAINED, notes_of_means
from glimpse_cli.files import shown as shown_name
from glimpse_cli.images import LONGEST, encode_picture

FIGURE_SPACE, POINT_SPACE = "\u2007", "\u2008"


@dataclass(frozen=True, slots=True)
class Section:
    """One picture on the page.

    Args:
        document: its numbers, as for ``--json``, with ``input``, ``notes`` and ``failures``.
        panel: the drawing, as the address of an image.
        glimpses: label and PNG file of each row.
    """

    document: dict[str, Any]
    panel: str
    glimpses: tuple[tuple[str, bytes], ...]


def section(comparison: Comparison, document: dict[str, Any], panel: Pixels) -> Section:
    """What the page shows of one comparison, of which ``panel`` is the `figure`; holds on to no other pixels."""
    kind = "webp" if max(panel.shape) <= LONGEST["webp"] else "png"
    glimpses = [encode_picture(shown(row.glimpse, alpha=comparison.loaded.alpha)) for row in comparison.rows]
    return Section(
        document, _data(encode_picture(panel, kind), kind), tuple(zip(comparison.labels, glimpses, strict=True))
    )


def page(sections: Sequence[Section], facts: dict[str, Any], mean: Sequence[dict[str, Any]] | None) -> str:
    """The page.

    Args:
        sections: one for each picture, one or more.
        facts: ``reference``, ``repeats`` and ``threads``, as for ``--json``.
        mean: the rows of means, where there are several pictures.
    """
    style, script = (package_files(__package__).joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>glimpse compare: {escape(_title(sections))}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>glimpse compare</h1>
<p class="quiet">{escape(basis(facts, [each.document for each in sections]))}</p>
{_contents(sections)}
</header>
<main>
{_means(mean, len(sections)) if mean else ""}
{"".join(_section(each, number) for number, each in enumerate(sections))}
<details><summary>What the numbers mean</summary>
<dl>{"".join(f"<dt>{escape(head(name))}</dt><dd>{escape(text)}</dd>" for name, text in EXPLAINED.items())}</dl>
</details>
</main>
<script>{script}</script>
</body>
</html>
"""


def _section(part: Section, number: int) -> str:
    document = part.document
    path, name = (escape(shown_name(text)) for text in (document["input"], PurePath(document["input"]).name))
    labels = escape(", ".join(label for label, _ in part.glimpses))
    said = [("", note) for note in document["notes"]] + [(' class="failures"', line) for line in document["failures"]]
    return f"""<section id="picture-{number}">
<h2>{name}</h2>
{f'<p class="quiet">{path}</p>' if path != name else ""}
<p class="quiet">{escape(about(document))}</p>
{_notes(said)}
<div class="wide panel" tabindex="0" role="region" aria-label="Glimpses, masks and differences of {name}">
<img src="{part.panel}" alt="{name} with its place; glimpses, masks and differences of {labels}">
</div>
<h3>Numbers</h3>
{_table(document["rows"], f"Numbers of {name}")}
{_slider(part.glimpses) if len(part.glimpses) > 1 else ""}
</section>
"""


def _notes(said: Sequence[tuple[str, str]]) -> str:
    """A list of (attributes, line), or nothing."""
    notes = "".join(f"<li{kind}>{escape(text)}</li>" for kind, text in said)
    return f'<ul class="notes">{notes}</ul>' if notes else ""


def _table(rows: Sequence[dict[str, Any]], name: str) -> str:
    """A table whose heads sort it, where there is something to sort; ``name`` is escaped already."""
    devices, shown_numbers = len({row["device"] for row in rows}) > 1, columns(rows)
    apart = any(row.get(OFF) for row in rows)
    th = partial(_th, sorts=len(rows) > 1)
    words = ["method", *(["device"] if devices else [])]
    heads = [th(word, "ascending", "word", "") for word in words]
    heads += [
        th(head(name), "descending" if METRICS.get(name) else "ascending", "", EXPLAINED[name])
        for name in shown_numbers
    ]
    if apart:
        heads.append(th(head(OFF), "ascending", "", "largest difference to the same method there"))
    written = {number: cells(rows, number) for number in shown_numbers}
    body = ""
    for k, row in enumerate(rows):
        tds = [f'<td class="word">{escape(row["device"])}</td>'] if devices else []
        tds += [_td(_worth(row, number), written[number][k]) for number in shown_numbers]
        if apart:
            tds.append(_td((row[OFF] or {}).get("max"), off(row)))
        body += f'<tr><th scope="row">{escape(row["label"])}</th>{"".join(tds)}</tr>\n'
    return f"""<div class="wide" tabindex="0" role="region" aria-label="{name}">
<table><thead><tr>{"".join(heads)}</tr></thead>
<tbody>{body}</tbody></table>
</div>"""


def _th(head: str, first: str, kind: str, meaning: str, *, sorts: bool) -> str:
    """A head; ``first`` is the order that its first click sorts in, if it ``sorts``."""
    title = f' title="{escape(meaning)}"' if meaning else ""
    opened, closed = (f'<button type="button"{title}>', "</button>") if sorts else (f"<span{title}>", "</span>")
    return f'<th scope="col" class="{kind}" data-first="{first}">{opened}{escape(head)}{closed}</th>'


def _td(value: float | None, text: str) -> str:
    number = text.rstrip()
    behind = FIGURE_SPACE * (len(text) - len(number))  # as wide as digits, the first one as a point where there is none
    if "." not in number:
        behind = behind.replace(FIGURE_SPACE, POINT_SPACE, 1)
    return f'<td data-value="{"" if value is None else repr(value)}">{escape(number)}{behind}</td>'


def _worth(row: dict[str, Any], number: str) -> float | None:
    """What a cell is sorted by: identical glimpses have a PSNR above all others."""
    return 1e9 if cell(row, number) == "inf" else row[number]


def _slider(glimpses: Sequence[tuple[str, bytes]]) -> str:
    hidden = "".join(f'<img alt="{escape(label)}" src="{_data(png, "png")}">' for label, png in glimpses)
    choices = [
        f'<label><span class="quiet">{side}</span> <select class="{side}">'
        + "".join(
            f'<option value="{k}"{" selected" if k == chosen else ""}>{escape(label)}</option>'
            for k, (label, _) in enumerate(glimpses)
        )
        + "</select></label>"
        for side, chosen in (("left", len(glimpses) > 2), ("right", len(glimpses) - 1))
    ]
    return f"""<figure class="slider" hidden>
<h3>Two of them, one over the other</h3>
<div class="glimpses" hidden>{hidden}</div>
<div class="stage"><img class="left" alt=""><img class="right" alt="">
<input type="range" min="0" max="100" value="50" aria-label="Where the left glimpse ends and the right one begins">
<span class="line"></span></div>
<div class="ends">{"".join(choices)}</div>
</figure>"""


def _contents(sections: Sequence[Section]) -> str:
    if len(sections) == 1:
        return ""
    links = (
        f'<li><a href="#picture-{k}">{escape(shown_name(PurePath(each.document["input"]).name))}</a></li>'
        for k, each in enumerate(sections)
    )
    return f'<nav aria-label="Pictures"><ul>{"".join(links)}</ul></nav>'


def _means(rows: Sequence[dict[str, Any]], count: int) -> str:
    notes = _notes([("", note) for note in notes_of_means(rows, count)])
    table = _table(rows, "Means over all pictures")
    return f"<section><h2>Mean of {count} pictures</h2>\n{notes}\n{table}</section>"


def _title(sections: Sequence[Section]) -> str:
    names = [shown_name(PurePath(each.document["input"]).name) for each in sections]
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _data(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{b64encode(data).decode('ascii')}"


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode('ascii')}'"
