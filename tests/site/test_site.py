#!/usr/bin/env python3
"""test_site.py - the site that `make site` makes: its files, and in a real browser.

    python3 tests/site/test_site.py SITE [FOLDER]

SITE is the folder with the pages; FOLDER keeps screenshots (default: none), docs/img/site.png is its gallery.png. Pages
are served on a port of this machine, as the search needs it. Without Chromium and chromedriver only the files are
looked at. The last line is "N passed, N failed, N skipped"."""
import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/html"))
from browser import Browser, check  # noqa: E402

DEMO_LARGEST = 3_000_000


def serve(folder):
    """The address of a server of the folder, for as long as this program runs."""
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/"


class Files:
    """What can be seen without a browser."""
    def __init__(self, site):
        self.site = site
        self.pages = {str(path.relative_to(site)): path.read_text() for path in site.rglob("*.html")}

    def test_nothing_from_elsewhere(self):
        """No page and no style loads anything from another place; links may lead there."""
        for name, page in self.pages.items():
            loads = re.findall(r"<(?:script|img|iframe|source|video)\b[^>]*\bsrc=[\"']?((?:https?:)?//[^\"'> ]+)", page)
            loads += re.findall(r"<link\b[^>]*\bhref=[\"']?((?:https?:)?//[^\"'> ]+)", page)
            check(not loads, name, "loads", loads)
        for style in self.site.rglob("*.css"):
            check(not re.search(r"(?:url\(|@import\s+)[\"']?(?:https?:)?//", style.read_text()), style)

    def test_every_page_of_docs(self):
        for path in (ROOT / "docs").rglob("*.md"):
            name = str(path.relative_to(ROOT / "docs")).replace("README.md", "index.md")[:-2] + "html"
            check(name in self.pages, "no page", name)
            if name != "index.html":
                check('class="md-tabs__item md-tabs__item--active"' in self.pages[name], name, "is in no track")

    def test_order_of_reading(self):
        """The foot of a page leads to the next one of its track."""
        for track in ("learn", "port"):
            table = subprocess.run([ROOT / "scripts/reading.sh", track], capture_output=True, text=True, check=True)
            names = [name.replace("README.md", "index.md")[:-2] + "html"
                     for name in re.findall(r"^\| \[(.*?)\]", table.stdout, re.M)]
            for here, after in zip(names, names[1:]):
                link = os.path.relpath(after, os.path.dirname(here) or ".")
                check(f'rel="next" href="{link}"' in self.pages[here], here, "does not lead to", link)

    def test_reference(self):
        """Every function of the two headers has a heading."""
        for header, page in (("ref/api/mole.h", "library"), ("ref/ops/ops.h", "operations")):
            code = re.sub(r"/\*.*?\*/", "", (ROOT / header).read_text(), flags=re.S)
            functions = set(re.findall(r"^[\w ]+?[ *](\w+)\(", code, re.M)) - {"__attribute__"}
            heads = " ".join(re.findall(r"<h3.*?</h3>", self.pages[f"reference/{page}.html"], re.S))
            check(len(functions) > 20, header, len(functions))
            for name in functions:
                check(f"<code>{name}</code>" in heads, header, name, "has no heading")

    def test_glossary(self):
        """Words lead to rows that are there, once a page, and never out of code or a heading."""
        rows = set(re.findall(r'id="(term-[\w-]+)"', self.pages["glossary.html"]))
        check(len(rows) > 50, len(rows), "rows")
        linked = 0
        for name, page in self.pages.items():
            terms = re.findall(r'<a class="term" href="[./]*glossary\.html#([\w-]+)" title="[^"]+">([^<]+)</a>', page)
            check(len(terms) == page.count('class="term"'), name, "has links of another form")
            check({anchor for anchor, _ in terms} <= rows, name, "leads nowhere", terms)
            words = [word.lower().rstrip("s") for _, word in terms]
            check(len(words) == len(set(words)), name, "links a word twice", words)
            check(not re.search(r"<(code|h[1-6])\b[^>]*>(?:(?!</\1>).)*class=\"term\"", page, re.S), name)
            linked += len(terms)
        check("term-culprit" in self.pages["check-your-port.html"], "a culprit is no word of the glossary")
        check(linked > 100, linked, "words")

    def test_demo(self):
        """The X-ray page of the demo's prompt, of at most 3 MB; the start leads to it."""
        made = re.search(r"^DEMO_PROMPT +:= (.*)$", (ROOT / "Makefile").read_text(), re.M)
        size = (self.site / "demo-xray.html").stat().st_size
        check(size <= DEMO_LARGEST, "the demo's page takes", size)
        check(made[1] in self.pages["demo-xray.html"], "another prompt")
        check('href="demo-xray.html"' in self.pages["index.html"], "the start does not lead to it")

    def test_no_orphans(self):
        """From the start every page can be reached."""
        seen, waiting = set(), ["index.html"]
        while waiting:
            name = waiting.pop()
            if name in seen or name not in self.pages:
                continue
            seen.add(name)
            links = re.findall(r"<a\b[^>]*\bhref=[\"']?([^\"'#>: ]+\.html)", self.pages[name])
            waiting += [os.path.normpath(os.path.join(os.path.dirname(name), link)) for link in links]
        orphans = set(self.pages) - seen - {"404.html"}
        check(not orphans, "nothing leads to", sorted(orphans))

    def test_sources(self):
        """A file that a page names is on the site, as it is in the tree."""
        check('href="tree/ref/core/tap.h.html"' in self.pages["glossary.html"], "ref/core/tap.h is no link")
        check("typedef" in self.pages["tree/ref/core/tap.h.html"], "ref/core/tap.h is not shown")


class Pages:
    """In the browser."""
    def __init__(self, browser, address, folder):
        self.browser, self.address, self.folder = browser, address, folder

    def load(self, page):
        self.browser.call("POST", "/url", {"url": self.address + page})

    def wait(self, script, *what):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            found = self.browser.run("return " + script)
            if found:
                return found
            time.sleep(0.1)
        raise AssertionError(" ".join(map(str, what)) or script)

    def shot(self, name):
        if self.folder:
            self.browser.screenshot(os.path.join(self.folder, name + ".png"))

    def quiet(self):
        loaded = self.browser.run("return performance.getEntriesByType('resource').map((e) => e.name)")
        away = [name for name in loaded if not name.startswith(self.address)]
        check(not away, "loads from elsewhere", away)
        errors = [text for text in self.browser.complaints() if "favicon" not in text]
        check(not errors, "the console is not empty", errors)

    def test_search(self):
        """ "global gate" leads to a page that holds it. """
        self.load("index.html")
        check(self.browser.text("h1").startswith("Documentation"), self.browser.text("h1"))
        self.browser.click("input.md-search__input")
        self.browser.type("input.md-search__input", "global gate")
        self.wait("document.querySelectorAll('.md-search-result__item').length > 0", "nothing was found")
        self.shot("search")
        first = self.browser.run("const a = document.querySelector('.md-search-result__item a'); return a.href")
        self.browser.press("Down", "Enter")
        self.wait("!location.pathname.endsWith('/index.html')", "Enter opens no result")
        here = self.browser.run("return location.href")
        check(here.split("#")[0].split("?")[0] == first.split("#")[0].split("?")[0], "opened", here, "not", first)
        text = self.browser.run("return document.querySelector('article').textContent.toLowerCase()")
        check("global gate" in text, here, "does not speak of it")
        self.quiet()

    def test_dark(self):
        self.load("course/08-experts.html")
        colour = "getComputedStyle(document.body).backgroundColor"
        light = self.browser.run("return " + colour)
        self.browser.run("document.querySelector('label[title=\"Dark mode\"]').click()")
        dark = self.wait(f"document.body.dataset.mdColorScheme === 'slate' && {colour}", "no dark mode")
        check(light != dark and max(map(int, re.findall(r"\d+", dark)[:3])) < 60, light, dark)
        self.shot("dark")
        self.load("glossary.html")  # and it stays
        self.wait("document.body.dataset.mdColorScheme === 'slate'", "dark mode is lost")
        self.browser.run("document.querySelector('label[title=\"Light mode\"]').click()")
        self.quiet()

    def test_gallery(self):
        """Filter the mutants, sort them, and back."""
        self.load("mutants.html")
        all_rows = self.browser.run("return [...document.querySelectorAll('table')].pop().tBodies[0].rows.length")
        check(all_rows > 80, all_rows, "mutants")
        self.browser.type(".table-tools input", "gate pool")
        seen = self.browser.run(
            "return [...[...document.querySelectorAll('table')].pop().tBodies[0].rows]"
            ".filter((row) => row.offsetParent).map((row) => row.textContent.toLowerCase())")
        check(1 <= len(seen) < 20, len(seen), "rows are shown")
        check(all("gate" in row and "pool" in row for row in seen), "other rows are shown")
        check(self.browser.text(".table-tools output") == f"{len(seen)} of {all_rows}", "the count")
        self.browser.run("[...document.querySelectorAll('table')].pop().id = 'gallery'")
        names = "return [...document.querySelectorAll('#gallery tbody tr')].map((row) => row.cells[0].textContent)"
        self.browser.click("#gallery th button")
        up = self.browser.run(names)
        check(up == sorted(up), "sorted", up[:4])
        check(self.browser.run("return document.querySelector('#gallery th').ariaSort") == "ascending", "aria-sort")
        self.browser.click("#gallery th button")
        check(self.browser.run(names) == up[::-1], "sorted the other way")
        self.browser.run("document.querySelector('.table-tools').scrollIntoView({block: 'center'})")
        time.sleep(0.5)  # the title of the head changes slowly
        self.shot("gallery")
        self.quiet()

    def test_keyboard(self):
        """A heading is reached and pressed with the keyboard alone."""
        self.load("mutants.html")
        self.browser.run("document.querySelector('.table-tools input').focus()")
        self.browser.press("Tab", "Enter")
        check(self.browser.run("return document.activeElement.closest('th').ariaSort") == "ascending", "not sorted")

    def test_term(self):
        """A word of the glossary leads to its row."""
        self.load("check-your-port.html")
        word = self.browser.run("return document.querySelector('a.term').textContent.toLowerCase()")
        self.browser.click("a.term")
        row = self.wait("location.pathname.endsWith('/glossary.html') && "
                        "document.querySelector(':target').closest('tr').textContent", "no row")
        check(word.rstrip("s") in row.lower(), word, "leads to", row)

    def test_paper(self):
        """Printing opens the solutions and leaves out what is for the screen."""
        self.load("course/03-blocks.html")
        self.browser.run("window.dispatchEvent(new Event('beforeprint'))")
        shut = self.browser.run("return [...document.querySelectorAll('article details')].map((d) => d.open)")
        check(len(shut) >= 3 and all(shut), shut)
        self.browser.cdp("Emulation.setEmulatedMedia", media="print")
        shown = self.browser.run("return getComputedStyle(document.querySelector('.md-sidebar')).display")
        self.browser.cdp("Emulation.setEmulatedMedia", media="")
        check(shown == "none", shown)

    def test_xray(self):
        """From the start to the demo's X-ray page, and into a block of the network."""
        self.load("index.html")
        self.browser.click("article a[href='demo-xray.html']")
        self.wait("document.getElementById('chosen') !== null", "no X-ray page")
        self.browser.click(".block[data-block='down_blocks.1']")
        check("down_blocks.1" in self.browser.text("#chosen"), self.browser.text("#chosen"))
        self.quiet()

    def test_phone(self):
        """360 points wide: nothing sticks out sideways."""
        self.browser.cdp("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
        for page in ("index.html", "mutants.html", "course/03-blocks.html", "reference/operations.html"):
            self.load(page)
            wide = self.browser.run("return [document.documentElement.scrollWidth, window.innerWidth]")
            check(wide[0] <= wide[1], page, wide)
        self.browser.cdp("Emulation.clearDeviceMetricsOverride")


def run(tests):
    """How many passed, and failed."""
    passed = failed = 0
    for name in [n for n in dir(tests) if n.startswith("test_")]:
        start = time.monotonic()
        try:
            getattr(tests, name)()
            passed += 1
            print(f"ok      {name[5:]} ({time.monotonic() - start:.1f} s)")
        except (AssertionError, RuntimeError, KeyError, ValueError) as error:
            failed += 1
            print(f"FAILED  {name[5:]}: {type(error).__name__}: {error}")
    return passed, failed


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    site, folder = Path(sys.argv[1]).resolve(), sys.argv[2] if len(sys.argv) == 3 else None
    passed, failed = run(Files(site))
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    skipped = int(not chromium or not shutil.which("chromedriver"))
    if skipped:
        print("SKIP the site in a browser: no chromium with chromedriver (scripts/setup.sh --html)")
    else:
        if folder:
            os.makedirs(folder, exist_ok=True)
        browser = Browser(chromium, shutil.which("chromedriver"))
        try:
            more, worse = run(Pages(browser, serve(site), folder))
        finally:
            browser.close()
        passed, failed = passed + more, failed + worse
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
