"""The page of a comparison: what is in it, and what it does in a real browser, where there is one."""

import base64
import hashlib
import json
import os
import re
import select
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from glimpse_cli.cli.app import app
from pictures import png

RNG = np.random.default_rng(12)
PHOTO = RNG.integers(0, 256, (43, 71, 3)).astype(np.uint8)
HOSTILE = """"><img src=x onerror=alert(1)>'&<script>alert(2)<|script>.png""".replace("|", "\u2044")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of two pictures, one of them with a name that would run."""
    folder = tmp_path_factory.mktemp("page")
    names = [str(folder / "photo.png"), str(folder / HOSTILE)]
    for name, picture in zip(names, (PHOTO, PHOTO[::-1, :60]), strict=True):
        Path(name).write_bytes(png(picture))
    report = folder / "report.html"
    args = ["--box", "5.5,3,40,30", "--size", "9x7", "--repeats", "1", "--fail-above", "max=0.01"]
    result = CliRunner().invoke(app, ["compare", *names, *args, "--report", str(report)])
    assert result.exit_code == 3, result.output
    return report


class Seen(HTMLParser):
    """All tags with their attributes, and the text of style and script."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.inside = [], {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.lasttag in {"style", "script"}:
            self.inside.setdefault(self.lasttag, data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def test_the_page_needs_nothing_but_itself(page):
    seen = Seen(page.read_text("utf-8"))
    for tag, attrs in seen.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form", "svg"}
        for name, value in attrs.items():
            assert not name.startswith("on")
            assert name != "style"
            if name == "src":
                assert value.startswith("data:image/")
            if name == "href":
                assert value.startswith("#")
    assert "url(" not in seen.inside["style"]
    assert "@import" not in seen.inside["style"]


def test_the_policy_lets_in_its_own_style_and_script_alone(page):
    seen = Seen(page.read_text("utf-8"))
    metas = seen.all("meta")
    (policy,) = [meta["content"] for meta in metas if meta.get("http-equiv") == "Content-Security-Policy"]
    assert metas.index({"http-equiv": "Content-Security-Policy", "content": policy}) == 1  # right after the charset
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert (rules["default-src"], rules["img-src"], rules["base-uri"]) == ("'none'", "data:", "'none'")
    for tag in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(seen.inside[tag].encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"


def test_names_are_escaped(page):
    text = page.read_text("utf-8")
    assert "onerror=alert(1)&gt;" in text
    assert not re.search(r"<img src=x|<script>alert", text)
    assert len(Seen(text).all("script")) == 1


def test_the_page_holds_a_table_a_panel_and_the_glimpses_of_each_picture(page):
    seen = Seen(page.read_text("utf-8"))
    kinds = [attrs.get("src", "")[5:15] for attrs in seen.all("img")]
    assert kinds.count("image/webp") == 2
    assert kinds.count("image/png;") == 2 * 3
    assert len(seen.all("table")) == 3  # and that of the means
    assert all(attrs.get("alt") for attrs in seen.all("img") if attrs.get("src"))
    assert page.read_text("utf-8").count('class="failures"') == 6


def test_the_same_numbers_give_the_same_page():
    from glimpse_cli.compare import page as made

    facts = {"repeats": 9, "threads": 1}
    assert made([section()], facts, None) == made([section()], facts, None)


def test_identical_glimpses_are_sorted_above_all_others():
    from glimpse_cli.compare import page as made

    found = section()
    found.document["rows"][0] |= {"max": 0.0, "mae": 0.0, "psnr": None}
    text = made([found], {"repeats": 0, "threads": 1}, None)
    assert '<td data-value="1000000000.0">inf</td>' in text
    assert '<td data-value="">-</td>' in text


def test_the_script_has_no_selector_that_browsers_of_2022_stop_at(page):
    """Firefox knows ``:has`` since December 2023; before, it is an error, and no line after it is run."""
    assert ":has(" not in page.read_text("utf-8")


def test_in_a_browser_the_heads_of_a_table_are_read_out_without_their_arrows(page, browser):
    browser.open(page)
    browser.call("Accessibility.enable")
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    names = {node["name"]["value"] for node in nodes if node.get("role", {}).get("value") == "button"}
    assert {"method", "px read", "mae", "noise"} <= names
    assert all(name.isascii() for name in names)


def test_points_of_numbers_stand_one_below_the_other():
    from glimpse_cli.compare import page as made

    found = section()
    found.document["rows"] += [{**found.document["rows"][0], "ms": 123.4, "noise_gain": 0.01234}]
    text = made([found], {"repeats": 0, "threads": 1}, None)
    figure, point = "\N{FIGURE SPACE}", "\N{PUNCTUATION SPACE}"
    for cell in (f"1.00{2 * figure}", "0.0123", "1.50", f"123{point}{2 * figure}"):
        assert f">{cell}</td>" in text


def section():
    from glimpse_cli.compare import Section

    row = dict.fromkeys(
        ("ms", "pixels_read", "pixels_seen", "mae", "max", "psnr", "ssim", "aliasing", "blur", "noise_gain")
    )
    row |= {"label": "stn", "device": "cpu", "ms": 1.5, "pixels_read": 3, "pixels_seen": 2, "noise_gain": 1.0}
    place = {"d": {"y": 1, "x": 2}, "u": {"y": 3, "x": 4}, "box": None}
    sizes = {name: {"width": 7, "height": 5} for name in ("input_size", "size")}
    lists = {"notes": [], "failures": [], "rows": [row]}
    document = {"input": "a.png", **sizes, "place": place, "coverage": 1.0, "reference": "stn", **lists}
    return Section(document, "data:image/webp;base64,AAAA", (("stn", b"png"),))


class Browser:
    """A headless Chromium, spoken to through two pipes (the DevTools protocol: JSON that ends in a NUL)."""

    def __init__(self, profile):
        from_us, to_browser = os.pipe(), os.pipe()
        flags = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        ends = from_us[0], to_browser[1]  # which the browser expects as its descriptors 3 and 4
        start = (
            "import fcntl, os, sys\n"
            "ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]\n"
            "for end, number in zip(ends, (3, 4)): os.dup2(end, number)\n"
            "os.execv(sys.argv[3], sys.argv[3:])"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", start, *map(str, ends), CHROMIUM, *flags],
            pass_fds=ends, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for end in ends:
            os.close(end)
        self.out, self.into, self.pending = from_us[1], to_browser[0], b""
        self.numbers, self.events, self.session = count(1), [], None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def receive(self):
        while b"\0" not in self.pending:
            ready, _, _ = select.select([self.into], [], [], 60)
            part = os.read(self.into, 2**16) if ready else b""
            assert part, "the browser says nothing"
            self.pending += part
        message, _, self.pending = self.pending.partition(b"\0")
        return json.loads(message)

    def call(self, method, **params):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while (found := self.receive()).get("id") != number:
            self.events.append(found)
        assert "error" not in found, found
        return found["result"]

    def open(self, path, width=1280):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.receive())

    def run(self, script):
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            code = {"ArrowLeft": 37, "ArrowRight": 39, "Tab": 9, "Enter": 13}[key]
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def close(self):
        self.process.terminate()
        self.process.wait(60)
        os.close(self.out)
        os.close(self.into)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not CHROMIUM:
        pytest.skip("no Chromium here")
    there = Browser(tmp_path_factory.mktemp("profile"))
    yield there
    there.close()


def test_in_a_browser_the_page_sorts_slides_and_loads_nothing(page, browser):
    browser.open(page)
    column = "[...document.querySelector('#picture-0 tbody').rows].map(row => row.cells[0].textContent)"
    values = "[...document.querySelector('#picture-0 tbody').rows].map(row => +row.cells[4].dataset.value)"
    assert browser.run(column) == ["hard", "gaussian", "stn"]
    head = "document.querySelector('#picture-0 thead').rows[0].cells[4]"
    for sense, sign in (("ascending", 1), ("descending", -1)):
        browser.run(f"{head}.firstElementChild.focus()")
        browser.press("Enter")
        assert browser.run(f"{head}.getAttribute('aria-sort')") == sense
        found = browser.run(values)
        assert found == sorted(found, reverse=sign < 0)
    browser.run("document.querySelector('#picture-0 thead').rows[0].cells[0].firstElementChild.click()")
    assert browser.run(column) == ["gaussian", "hard", "stn"]

    shown = "document.querySelector('#picture-0 .stage').style.getPropertyValue('--at')"
    assert browser.run(shown) == "50%"
    browser.run("document.querySelector('#picture-0 .slider input').focus()")
    browser.press("ArrowRight")
    browser.press("ArrowRight")
    assert browser.run(shown) == "52%"
    assert browser.run("document.activeElement.getAttribute('aria-valuetext')") == "52% gaussian, 48% stn"
    clip = "getComputedStyle(document.querySelector('#picture-0 .right')).clipPath"
    assert browser.run(clip) == "inset(0px 0px 0px 52%)"
    browser.run(
        "const choice = document.querySelector('#picture-0 select.left'); choice.value = 0;"
        "choice.dispatchEvent(new Event('change'))"
    )
    alts = "[...document.querySelectorAll('#picture-0 .stage img')].map(image => [image.alt, image.naturalWidth])"
    assert browser.run(alts) == [["hard", 9], ["stn", 9]]

    asked = [e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(("data:", "about:"))] == [page.as_uri()]
    said = [
        e
        for e in browser.events
        if e.get("method") in {"Log.entryAdded", "Runtime.exceptionThrown", "Page.javascriptDialogOpening"}
    ]
    assert said == []


def test_in_a_browser_nothing_that_is_added_to_the_page_can_run_or_load(page, browser, tmp_path):
    image = "<img src='https://example.invalid/a.png' onerror='window.ran = 2'>"
    added = f"<script>window.ran = 1</script>{image}<style>body{{color:red}}</style>"
    other = tmp_path / "other.html"
    other.write_text(page.read_text("utf-8").replace("<main>", f"<main>{added}"), "utf-8")
    browser.open(other)
    assert browser.run("window.ran") is None
    assert browser.run("getComputedStyle(document.body).color") != "rgb(255, 0, 0)"
    refused = [e["params"]["entry"]["text"] for e in browser.events if e.get("method") == "Log.entryAdded"]
    assert len([text for text in refused if "Content Security Policy" in text]) >= 3


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser_the_page_fits_its_window_and_its_words_can_be_read(page, browser, width, scheme):
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.open(page, width)
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("document.querySelector('.panel img').getBoundingClientRect().width") >= 700
    colours = browser.run("[document.body, document.querySelector('.quiet')].map(e => getComputedStyle(e).color)")
    ground = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (luminance(ground) < 0.1) == (scheme == "dark")
    assert all(contrast(colour, ground) >= 4.5 for colour in colours)


@pytest.mark.parametrize("width", [400, 1280, 2400])
def test_in_a_browser_a_panel_is_as_it_was_drawn_where_there_is_room_and_smaller_where_there_is_less(
    page, browser, width
):
    browser.open(page, width)
    image = "document.querySelector('.panel img')"
    shown, drawn, room = browser.run(
        f"[{image}.getBoundingClientRect().width, {image}.naturalWidth, {image}.parentElement.clientWidth]"
    )
    assert abs(shown - min(drawn, max(room, 62 * 16))) < 0.1


def test_in_a_browser_nothing_is_cut_off_or_scrolls_on_paper(page, browser):
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        browser.open(page, 700)
        sizes = "[e.scrollWidth, e.clientWidth, getComputedStyle(e).overflow]"
        wide = browser.run(f"[...document.querySelectorAll('.wide')].map(e => {sizes})")
        assert len(wide) == 5
        assert all(inside <= outside <= 700 and overflow == "visible" for inside, outside, overflow in wide)
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")


def test_a_table_of_one_row_has_no_buttons_that_would_sort_it():
    from glimpse_cli.compare import page as made

    one, two = section(), section()
    two.document["rows"].append({**two.document["rows"][0], "label": "hard"})
    assert Seen(made([one], {"repeats": 0, "threads": 1}, None)).all("button") == []
    assert len(Seen(made([two], {"repeats": 0, "threads": 1}, None)).all("button")) > 5


def luminance(colour):
    parts = [int(n) / 255 for n in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one, other):
    """As the Web Content Accessibility Guidelines define it."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
