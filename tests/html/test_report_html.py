"""test_report_html.py - the HTML report in a real browser: opened, clicked, read. run.py runs it.

The pages, and their JSON reports, which say what the pages must show, are written by the test program
tests/report/test_report_html."""
import json
import math
import os
import re
import subprocess
import time

from browser import check


# ---- what the page should show, from the JSON report --------------------------------------------------

def number(value):
    return float(value.replace("Infinity", "inf")) if isinstance(value, str) else value


def same_number(shown, value, digits):
    """Whether a displayed text is the value, to that many digits."""
    if value is None:
        return shown == "–"
    value = number(value)
    if math.isnan(value):
        return shown == "NaN"
    found = float(shown.rstrip("x%").replace("Infinity", "inf"))
    if math.isinf(value) or value == 0:
        return found == value
    return abs(found - value) <= abs(value) * 0.51 * 10.0 ** (1 - digits)


def same_ratio(shown, value):
    if value is None or shown == "–":
        return value is None and shown == "–"
    value, found = number(value), float(shown.rstrip("x"))
    if not shown.endswith("x"):
        return math.isinf(value) and shown == "inf"
    if value < 0.095:  # one digit
        return value == found == 0 or value > 0 and abs(found - value) <= 0.51 * 10 ** math.floor(math.log10(value))
    return abs(found - value) <= (0.051 if value < 9.95 else 0.51 if value < 1e5 else 0.1 * value)


def shown_name(name):
    invisible = "\u202e\u2066\x1b\x07\x01\x7f\x9b"
    return "".join(f"‹U+{ord(c):04X}›" if c in invisible else c for c in name)


FIELDS = """
const out = {};
for (const td of document.querySelectorAll("#details td[data-field]")) out[td.dataset.field] = [td.textContent, td.title];
return {row: Number(document.getElementById("chosen").dataset.row), name: document.querySelector("#chosen .name").textContent,
        badge: document.querySelector("#details .badge").textContent, fields: out,
        cause: (document.querySelector("#details [data-field=cause]") || {}).textContent || null,
        map: document.querySelectorAll("#details canvas.map").length, bars: document.querySelectorAll("#details svg rect").length}
"""


def check_details(browser, row, drawn):
    """Every number that the page shows of its chosen layer is that of the JSON report."""
    page = browser.run(FIELDS)
    check(page["row"] == row["index"], "chosen is", page["row"], "not", row["index"])
    check(page["name"] == shown_name(row["name"]), "name", page["name"])
    check(page["badge"].endswith(" " + row["verdict"]), "verdict", page["badge"])
    fields = page["fields"]
    for which, ratio in (("cumulative", "ratio"), ("isolated", "isolated_ratio")):
        if not row["cumulative"]:
            check("cumulative.rms" not in fields, "numbers of a layer that was not measured")
            continue
        check(same_ratio(fields[which + ".ratio"][0], row[ratio]), which, ratio, fields[which + ".ratio"], row[ratio])
        for key in ("max_abs", "candidate_at", "truth_at", "rms", "relative_rms", "truth_max"):
            shown, exact = fields[which + "." + key]
            value = row[which][key] if row[which] else None
            check(same_number(shown, value, 4), which, key, shown, value)
            if value is not None:
                check(exact == value if isinstance(value, str) else float(exact) == value, which, key, exact, value)
        if row[which]:
            check(json.loads(fields[which + ".worst_at"][0]) == row[which]["worst_at"], which, "worst_at")
            check(fields[which + ".nan_candidate"][0].startswith(f"{row[which]['nan_candidate']}, "), which, "NaN")
    for key, digits in (("limit", 4), ("peer_rms", 4), ("ulp_p99", 4)):
        check(same_number(fields[key][0], row[key], digits), key, fields[key], row[key])
    for key in ("bound_used", "typical_used"):
        percent = None if row[key] is None else 100 * number(row[key])
        check(same_number(fields[key][0], percent, 3), key, fields[key], row[key])
    check(fields["shape"][0] == "(" + ", ".join(map(str, row["shape"])) + ")", "shape", fields["shape"])
    check(fields["origin"][0] == (shown_name(row["origin"]) or "–"), "origin", fields["origin"])
    check((page["cause"] or "").endswith(shown_name(row["cause"]["text"])) if row["cause"] else not page["cause"],
          "cause", page["cause"])
    check(page["map"] == (row["index"] in drawn), "pictures of", row["index"])


OPEN_ALL = """
for (let before = -1, now = 0; now !== before;) {
  before = now;
  for (const b of document.querySelectorAll(".group[aria-expanded=false]")) b.click();
  now = document.querySelectorAll(".group").length;
}
return [...document.querySelectorAll(".layer")].map((b) => Number(b.dataset.row));
"""


PLOTTED = """const plot = document.getElementById('plot'), W = plot.width;
const d = plot.getContext('2d').getImageData(0, 0, W, plot.height).data;
const column = (x) => Array.from({length: plot.height}, (_, y) => d.slice(4 * (y * W + x), 4 * (y * W + x) + 3).join());
return arguments[0].map((index) => {
  const x = Math.floor(52 + (plot.getBoundingClientRect().width - 62) * index / arguments[1]);
  return [x - 1, x, x + 1].map(column);
})"""
INK = """const h = getComputedStyle(document.documentElement).getPropertyValue('--' + arguments[0]).trim();
return [1, 3, 5].map((i) => parseInt(h.slice(i, i + 2), 16)).join()"""
LABELS = """const plot = document.getElementById('plot').getBoundingClientRect();
return ['blocks', 'parts'].map((id) => [...document.getElementById(id).children].map((e) => {
  const r = e.getBoundingClientRect();
  return {text: e.textContent, from: Number(e.dataset.from), left: r.left - plot.left, right: r.right - plot.left,
          top: r.top, size: parseFloat(getComputedStyle(e).fontSize)};
}))"""
CHOSEN = "return Number(document.getElementById('chosen').dataset.row)"


def glossary():
    """Word -> meaning, as docs/glossary.md has it, without its marks."""
    with open("docs/glossary.md", encoding="utf-8") as file:
        rows = re.findall(r"^\| (.+?) \| (.+?) \|", file.read(), re.M)
    plain = [(words.replace("`", ""), re.sub(r"\[(.*?)\]\(.*?\)|`", r"\1", meaning)) for words, meaning in rows]
    return {word: meaning for words, meaning in plain for word in words.split(", ")}


def longest_run(values, wanted):
    most = now = 0
    for value in values:
        now = now + 1 if value == wanted else 0
        most = max(most, now)
    return most


class Tests:
    def __init__(self, browser, folder, programs):
        """Makes the pages."""
        self.browser, self.folder, self.mole = browser, folder, programs["mole"]
        made = subprocess.run([programs["report"]], env={**os.environ, "MOLE_REPORT_DIR": folder}, capture_output=True, text=True)
        check(made.returncode == 0, made.stdout + made.stderr)
        self.report = None
        self.drawn = {}

    def load(self, name, part=""):
        with open(os.path.join(self.folder, name + ".json"), encoding="utf-8") as file:
            self.report = json.load(file)
        path = os.path.join(self.folder, name + ".html")
        self.browser.open(path, part)
        data = self.browser.run("return document.getElementById('data').textContent")
        self.drawn = {p["index"]: p for p in json.loads(data)["pictures"]}
        return self.report["rows"]

    def quiet(self):
        check(not self.browser.complaints(), "the console is not empty")
        loaded = self.browser.run("return performance.getEntriesByType('resource').map((e) => e.name)")
        check(not loaded, "the page loaded", loaded)

    def test_opens_at_the_culprit(self):
        stretches = 0
        for name in ("mutant", "sample"):
            rows = self.load(name)
            culprit = self.report["culprit"]
            check(self.browser.text("#verdict").endswith("differs"), "verdict")
            check(culprit["name"] in self.browser.text("#culprit"), "culprit")
            check(culprit["after"]["text"] in self.browser.text("#culprit"), "after the culprit")
            stretch, shown = culprit["stretch"], self.browser.text("#culprit")
            check(("Between: " in shown) == bool(stretch["between"]), "stretch")
            check(not stretch["text"] or stretch["text"] in shown and stretch["dump"] in shown, "stretch", stretch)
            stretches += bool(stretch["text"])
            check(f"{self.report['compared']} of {len(rows)} taps" in self.browser.text("#counts"), "counts")
            for verdict, count in self.report["counts"].items():
                check((f"{count} {verdict}" in self.browser.text("#counts")) == (count > 0), verdict)
            check_details(self.browser, rows[culprit["index"]], self.drawn)
            self.quiet()
        check(stretches == 1, "a stretch is shown", stretches)

    def test_click_a_layer(self):
        """Group by group with the mouse, down to one layer."""
        rows = self.load("mutant")
        self.browser.run("location.hash = ''; location.reload()")
        target = next(r for r in rows if r["verdict"] == "inherited" and ".up_blocks.3.resnets.1." in r["name"])
        self.browser.run("for (const b of document.querySelectorAll('.group[aria-expanded=true]')) b.click()")
        check(self.browser.run("return document.querySelectorAll('.layer').length && [...document.querySelectorAll('.layer')].every((b) => !b.offsetParent)"), "closed")
        self.browser.click("#tree > li > .group")
        groups = self.browser.run("return [...document.querySelectorAll('#tree ul .group')].map((b) => b.querySelector('.name').textContent)")
        at = groups.index("decoder.up_blocks.3")
        self.browser.run("document.querySelectorAll('#tree ul .group')[arguments[0]].id = 'wanted'", at)
        self.browser.click("#wanted")
        inner = target["name"].split(".up_blocks.3.")[1].split(".conv")[0].split(".norm")[0]
        groups = self.browser.run("return [...document.querySelectorAll('#wanted + ul .group')].map((b) => b.querySelector('.name').textContent)")
        check(inner in groups, inner, groups)
        self.browser.run("document.querySelectorAll('#wanted + ul .group')[arguments[0]].id = 'part'", groups.index(inner))
        self.browser.click("#part")
        self.browser.click(f".layer[data-row='{target['index']}']")
        check_details(self.browser, target, self.drawn)
        current = self.browser.run("return [...document.querySelectorAll('.layer[aria-current=true]')].map((b) => Number(b.dataset.row))")
        check(current == [target["index"]], "marked", current)
        check(self.browser.run("return location.hash") == f"#{target['index']}", "address")
        self.quiet()

    def test_every_layer(self):
        """All layers are in the tree, once, in order; each shows its own numbers."""
        for name in ("mutant", "sample"):
            rows = self.load(name)
            check(self.browser.run(OPEN_ALL) == list(range(len(rows))), "layers of the tree")
            for row in rows:
                self.browser.run("document.querySelector(`.layer[data-row='${arguments[0]}']`).click()", row["index"])
                check_details(self.browser, row, self.drawn)
                button = self.browser.run("const b = document.querySelector(`.layer[data-row='${arguments[0]}']`);"
                                          "return [b.className, b.querySelector('.ratio').textContent]", row["index"])
                check(button[0] == "layer " + row["verdict"], "class", button)
                check(same_ratio(button[1], row["ratio"]), "ratio", button, row["ratio"])
            self.quiet()

    def test_colours(self):
        """A wrong layer has another colour than one that agrees, and another sign."""
        rows = self.load("sample")
        self.browser.run(OPEN_ALL)
        look = self.browser.run("return [...document.querySelectorAll('.layer')].map((b) => [b.className, getComputedStyle(b).borderLeftColor, b.querySelector('.sign').textContent])")
        looks = {c: (colour, sign) for c, colour, sign in look}
        check(len(looks) == len({r["verdict"] for r in rows}) == 7, looks)
        check(len({v[0] for v in looks.values()}) == 7 and len({v[1] for v in looks.values()}) == 7, looks)

    def test_pictures(self):
        rows = self.load("mutant")
        check(10 <= len(self.drawn) <= 21 and self.report["culprit"]["index"] in self.drawn, "which are drawn")
        self.browser.run(OPEN_ALL)
        for index, picture in self.drawn.items():
            self.browser.run("document.querySelector(`.layer[data-row='${arguments[0]}']`).click()", index)
            seen = self.browser.run("const c = document.querySelector('canvas.map');"
                                    "return [c.width, c.height, [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]]")
            shape = picture["map"]
            check(seen[:2] == [shape["columns"], shape["rows"]], "size", seen[:2])
            levels = bytes.fromhex(shape["cells"])
            check(max(levels) == 254 and len(levels) == shape["rows"] * shape["columns"], "levels")
            brightness = {}
            for cell, level in enumerate(levels):
                r, g, b, a = seen[2][4 * cell:4 * cell + 4]
                check(a == (255 if level else 0), "cell", cell)
                if 0 < level < 255:
                    brightness[level] = 0.3 * r + 0.6 * g + 0.1 * b
            order = [brightness[k] for k in sorted(brightness)]
            check(all(y >= x - 1 for x, y in zip(order, order[1:])), "larger is brighter")
            check(abs(brightness[254] - (0.3 * 252 + 0.6 * 231 + 0.1 * 82)) < 1, "brightest")
            bars = self.browser.run("return [...document.querySelectorAll('#details svg rect')].map((r) => Number(r.getAttribute('height')))")
            bins = [n for n in picture["histogram"]["bins"] if n]
            check(len(bars) == len(bins) and bars.index(max(bars)) == bins.index(max(bins)), "bars")
            check(sum(picture["histogram"]["bins"]) + sum(picture["histogram"][k] for k in ("equal", "below", "not_finite"))
                  == math.prod(rows[index]["shape"]), "histogram counts every number")
        self.quiet()

    def test_plot(self):
        """Points are where the numbers say; hovering names a layer, a click chooses it, keys move on."""
        rows = self.load("mutant")
        self.browser.run("document.getElementById('plot').scrollIntoView()")
        width = self.browser.run("return document.getElementById('plot').getBoundingClientRect().width")
        wanted = 40
        x = round(52 + (width - 62) * wanted / (len(rows) - 1) - width / 2)
        self.browser.point("#plot", x, 0)
        check(rows[wanted]["name"] in self.browser.text("#tip"), "tip", self.browser.text("#tip"))
        self.browser.point("#plot", x, 0, click=True)
        check_details(self.browser, rows[wanted], self.drawn)
        check(self.browser.run("return document.activeElement.id") == "plot", "focus")
        self.browser.press("Right", "Right", "Left")
        check_details(self.browser, rows[wanted + 1], self.drawn)
        check(self.browser.run("return document.getElementById('plot').getAttribute('aria-valuenow')") == str(wanted + 1), "aria")
        self.browser.press("Home")
        check_details(self.browser, rows[0], self.drawn)
        self.browser.press("End", "Right")
        check_details(self.browser, rows[-1], self.drawn)
        colours = self.browser.run("const c = document.getElementById('plot'), seen = new Set();"
                                   "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
                                   "for (let i = 0; i < d.length; i += 4) if (d[i + 3] === 255) seen.add([d[i], d[i + 1], d[i + 2]].join());"
                                   "return [...seen]")
        for verdict in {r["verdict"] for r in rows}:
            rgb = self.browser.run("const h = getComputedStyle(document.documentElement).getPropertyValue('--' + arguments[0]).trim();"
                                   "return [1, 3, 5].map((i) => parseInt(h.slice(i, i + 2), 16)).join()", verdict)
            check(rgb in colours, "no point in the colour of", verdict)
        self.quiet()

    def culprits(self):
        """Of the JSON report: the first one, and what is wrong by itself after it."""
        first = self.report["culprit"]["index"]
        wrong = [r["index"] for r in self.report["rows"] if r["index"] > first and (
            r["verdict"] == "shape" or r["isolated"] and r["verdict"] in ("differs", "not-finite"))]
        check(len(wrong) == self.report["culprit"]["after"]["wrong"], "wrong by itself", wrong)
        return [first, *wrong]

    def test_culprits_on_top(self):
        """Of each culprit the whole mark is seen, among the many that only inherited."""
        rows = self.load("unet")
        colour = self.browser.run(INK, "differs")
        check(len(self.culprits()) == 3, self.culprits())
        for index, columns in zip(self.culprits(), self.browser.run(PLOTTED, self.culprits(), len(rows) - 1)):
            run = max(longest_run(column, colour) for column in columns)
            check(run >= 7, rows[index]["name"], "is drawn over:", run, "of 11 points are seen")
        check("◆ wrong by itself" in self.browser.text("#legend"), "the legend")
        self.quiet()

    def check_axis(self, rows, blocks, wanted):
        """Labels stand where their part begins, and do not cover each other."""
        width = self.browser.run("return document.getElementById('plot').getBoundingClientRect().width")
        for line in self.browser.run(LABELS):
            for label in line:
                x = 52 + (width - 62) * max(0, label["from"] - 0.5) / (len(rows) - 1)
                check(abs(label["left"] - x) < 1.5, label, "not at", x)
                check(label["right"] <= width + 1 and label["size"] >= 11, label, width)
            for i, a in enumerate(line):
                over = [b for b in line[i + 1:] if a["top"] == b["top"] and b["left"] < a["right"] - 1]
                check(not over, a, "covers", over)
        shown = {label["from"]: label["text"] for label in self.browser.run(LABELS)[0]}
        for prefix, names in blocks.items():
            first = next(r["index"] for r in rows if r["name"].startswith(prefix))
            check(shown.get(first) in names or first not in shown, prefix, shown.get(first))
        found = [prefix for prefix, names in blocks.items() if set(names) & set(shown.values())]
        check(len(found) >= wanted, "only", found, "are named")

    def test_axis(self):
        """The network's parts below the plot, on a desk and on a phone."""
        rows = self.load("unet")
        blocks = {f"unet.down_blocks.{i}.": (f"down block {i}", f"d{i}") for i in range(4)}
        blocks |= {f"unet.up_blocks.{i}.": (f"up block {i}", f"u{i}") for i in range(4)}
        blocks |= {"unet.mid_block.": ("mid block", "mid")}
        self.check_axis(rows, blocks, 9)
        check([label["text"] for label in self.browser.run(LABELS)[1]] == ["UNet"], "component")
        self.browser.run("location.hash = '#0'; location.reload()")
        self.browser.run("document.getElementById('plot').focus()")
        self.browser.press("End")
        text = "return document.getElementById('plot').getAttribute('aria-valuetext')"
        check("UNet" in self.browser.run(text), self.browser.run(text))
        self.browser.press("n", "p")
        check("UNet, up block 3: differs" in self.browser.run(text), self.browser.run(text))
        self.browser.cdp("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
        time.sleep(0.3)
        try:
            self.check_axis(rows, blocks, 7)
        finally:
            self.browser.cdp("Emulation.clearDeviceMetricsOverride")
        self.load("mutant")
        check([label["text"] for label in self.browser.run(LABELS)[1]] == ["VAE"], "component")
        self.quiet()

    def test_axis_of_steps(self):
        """A run of several steps: each step has its mark, and its number or its name."""
        case, page = "golden/runs/run-50-mole", os.path.join(self.folder, "steps.html")
        command = [self.mole, "compare", case, case + "/tensors.safetensors", "--no-isolate", "--html", page]
        made = subprocess.run(command + ["--json", page[:-4] + "json"], capture_output=True, text=True)
        check(made.returncode == 0, made.stdout + made.stderr)
        rows = self.load("steps")
        first = {int(r["name"][5:8]): r["index"] for r in reversed(rows) if r["name"].startswith("step.")}
        for width in (1200, 360):
            self.browser.cdp("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1,
                             mobile=width < 500)
            time.sleep(0.3)
            steps = [label for label in self.browser.run(LABELS)[1] if re.fullmatch(r"(step )?\d+", label["text"])]
            self.browser.cdp("Emulation.clearDeviceMetricsOverride")
            check(len(steps) >= 6, "steps that are named at", width, steps)
            for label in steps:
                check(first[int(label["text"].split()[-1])] == label["from"], label)
        self.quiet()

    def test_next_culprit(self):
        """By key and by button, forwards and back, and what a screen reader is told."""
        self.load("unet")
        wrong, said = self.culprits(), "return document.getElementById('culprit-said').textContent"
        check(self.browser.run(CHOSEN) == wrong[0], "begins at", self.browser.run(CHOSEN))
        check(self.browser.run(said) == "culprit 1 of 3", self.browser.run(said))
        self.browser.press("n")
        check(self.browser.run(CHOSEN) == wrong[1], "n leads to", self.browser.run(CHOSEN))
        name = self.report["rows"][wrong[1]]["name"]
        check(self.browser.run(said) == "culprit 2 of 3: " + name, self.browser.run(said))
        self.browser.click("#next")
        check(self.browser.run(CHOSEN) == wrong[2], "the button leads to", self.browser.run(CHOSEN))
        disabled = "return document.getElementById('next').getAttribute('aria-disabled')"
        check(self.browser.run(disabled) == "true", "disabled")
        self.browser.press("Enter")
        check(self.browser.run(CHOSEN) == wrong[2] and "no later" in self.browser.run(said), self.browser.run(said))
        check(self.browser.run("return document.activeElement.id") == "next", "the focus stays")
        outline = "return getComputedStyle(document.activeElement).outlineStyle"
        check(self.browser.run(outline) == "solid", "the focus is seen", self.browser.run(outline))
        self.browser.press("p", "p")
        check(self.browser.run(CHOSEN) == wrong[0], "p leads to", self.browser.run(CHOSEN))
        visible = "const b = document.querySelector('.layer[aria-current=true]'); return b && b.offsetParent !== null"
        check(self.browser.run(visible), "the layer is shown in the tree")
        self.browser.type("#filter", "n")
        check(self.browser.run(CHOSEN) == wrong[0], "a letter that is typed leads nowhere")
        role = self.browser.run("return document.getElementById('culprit-said').getAttribute('role')")
        check(role == "status", "announced")
        self.load("sample")
        check(self.culprits() and self.browser.run("return !document.getElementById('culprits').hidden"), "shown")
        self.quiet()

    def command(self, index):
        self.browser.run("location.hash = '#' + arguments[0]; location.reload()", index)
        return self.browser.run("const c = document.getElementById('command'); return c && c.textContent")

    def replayed(self, command):
        path = os.path.dirname(self.mole) + ":" + os.environ["PATH"]
        return subprocess.run(["sh", "-c", command], env={**os.environ, "PATH": path}, capture_output=True, text=True)

    def test_replay_command(self):
        """What is shown runs in a shell as it is, and says the same of the layer as the page."""
        for name, wrong in (("unet", 2), ("mutant", 1)):
            rows, differ = self.load(name), 0
            data = json.loads(self.browser.run("return document.getElementById('data').textContent"))
            able = [r["index"] for r in data["replay"]["rows"]]
            check(len(able) > 60, name, able)
            tried = [i for i in self.culprits() if i in able] + able[::len(able) // 8]
            for index in tried:
                command, row = self.command(index), rows[index]
                made = self.replayed(command)
                check(made.returncode == (row["verdict"] == "differs") and not made.stderr, command, made)
                check(row["name"] in made.stdout, command, made.stdout)
                differ += made.returncode
            check(differ >= wrong, differ, "differ")
        unable = next(r["index"] for r in rows if r["index"] not in able)
        check(self.command(unable) is None, "a command for", rows[unable]["name"])
        check("not all that mole replay needs" in self.browser.text("#details"), "and no word of it")
        self.quiet()

    def test_copy(self):
        """The button copies; where it may not, the command is selected."""
        self.load("unet")
        command = self.command(self.culprits()[1])
        check("'\\''s $(echo) trace" in command, "the path is quoted", command)
        self.browser.click("#copy")
        for _ in range(20):
            if self.browser.text("#copied"):
                break
            time.sleep(0.05)
        check(self.browser.text("#copied") == "copied", self.browser.text("#copied"))
        check(self.browser.paste("#filter") == command, "what was copied")
        self.command(self.culprits()[1])
        self.browser.run("Object.defineProperty(navigator, 'clipboard', {value: undefined});"
                         "document.execCommand = () => false")
        self.browser.click("#copy")
        check(self.browser.text("#copied").startswith("selected"), self.browser.text("#copied"))
        check(self.browser.run("return getSelection().toString()") == command, "what is selected")
        self.quiet()

    def test_words(self):
        """Each marked word shows what docs/glossary.md says of it: by mouse and by keyboard."""
        seen, wanted = set(), glossary()
        for name in ("unet", "sample", "hostile"):
            self.load(name)
            words = self.browser.run("return [...document.querySelectorAll('button.term')].map((b) => b.dataset.term)")
            for at, word in enumerate(words):
                self.browser.run("document.querySelectorAll('button.term')[arguments[0]].click()", at)
                shown = self.browser.run("return document.querySelector('#meaning p').textContent")
                check(shown == f"{word}: {wanted[word]} close", word, shown)
                seen.add(word)
        check(seen >= {"culprit", "isolated", "cumulative", "inherited", "unit", "stretch", "ratio", "DIFFERS"}, seen)
        self.browser.run("document.querySelector('#details button.term').focus()")
        self.browser.press("Enter")
        check(self.browser.run("return document.activeElement.getAttribute('aria-expanded')") == "true", "expanded")
        self.browser.press("Escape")
        check(self.browser.text("#meaning") == "", "Escape closes")
        check(self.browser.run("return document.activeElement.className") == "term", "and the focus is back")
        self.quiet()

    def test_keyboard_alone(self):
        rows = self.load("sample")
        self.browser.run("document.getElementById('wrong').focus()")
        self.browser.press("Tab")
        check(self.browser.run("return document.activeElement.className") == "group", "Tab reaches the tree")
        before = self.browser.run("return document.activeElement.getAttribute('aria-expanded')")
        self.browser.press("Enter")
        check(self.browser.run("return document.activeElement.getAttribute('aria-expanded')") != before, "Enter opens")
        if before == "true":
            self.browser.press("Enter")
        self.browser.press("Down", "Enter")
        check_details(self.browser, rows[0], self.drawn)
        self.browser.press("Up")
        check(self.browser.run("return document.activeElement.className") == "group", "arrows go back")
        self.quiet()

    def test_filter(self):
        rows = self.load("mutant")
        shown = "return [...document.querySelectorAll('#tree .layer')].map((b) => Number(b.dataset.row))"
        self.browser.type("#filter", "CONV_short")
        check(self.browser.run(shown) == [r["index"] for r in rows if "conv_short" in r["name"]], "by name")
        self.browser.click("#wrong")
        self.browser.run("const f = document.getElementById('filter'); f.value = ''; f.dispatchEvent(new Event('input'))")
        check(self.browser.run(shown) == [r["index"] for r in rows if r["verdict"] != "agrees"], "by verdict")
        self.browser.click("#wrong")
        check(self.browser.run("return document.querySelectorAll('#tree .group').length") > 0, "the groups are back")
        self.quiet()

    def test_hostile_names(self):
        rows = self.load("hostile")
        check(self.browser.run(OPEN_ALL) == list(range(len(rows))), "layers of the tree")
        for row in rows:
            self.browser.run("document.querySelector(`.layer[data-row='${arguments[0]}']`).click()", row["index"])
            check_details(self.browser, row, self.drawn)
        self.browser.run("for (const e of document.querySelectorAll('*')) { e.dispatchEvent(new Event('mouseover')); e.dispatchEvent(new Event('error')); }")
        time.sleep(0.2)
        check(self.browser.run("return typeof window.hacked") == "undefined", "a name was executed")
        check(self.browser.run("return document.scripts.length") == 3, "scripts")
        odd = self.browser.run("return [...document.querySelectorAll('img, injected, b, iframe, object, [onerror], [onmouseover]')].map((e) => e.outerHTML)")
        check(not odd, "elements out of names", odd)
        notes = self.browser.run("return document.querySelector('#notes').textContent")
        check(notes == "".join("Note: " + shown_name(n) for n in self.report["notes"]), "notes", notes)
        extra = self.browser.run("return [...document.querySelectorAll('#extra .name')].map((e) => e.textContent)")
        meant = [[shown_name(m["name"])] if m else [] for m in self.report["meant"]]
        check(any(meant) and not all(meant), "some extra taps are recognised, some not", meant)
        check(extra == sum(([shown_name(n)] + m for n, m in zip(self.report["extra"], meant)), []), "extra", extra)
        turning = self.browser.run("return /[\\u202a-\\u202e\\u2066-\\u2069]/.test(document.body.innerText)")
        check(not turning, "a character that turns the direction of text is shown as itself")
        check("‹U+202E›" in self.browser.run("return document.body.textContent"), "and spelled out instead")
        check(self.browser.run("return document.title").endswith(self.report["candidate"]), "title")
        self.quiet()

    def test_address_of_a_layer(self):
        rows = self.load("mutant", "#7")
        check_details(self.browser, rows[7], self.drawn)
        self.load("mutant", "#999999")
        check_details(self.browser, rows[self.report["culprit"]["index"]], self.drawn)
        self.load("mutant", "#<img>")
        check_details(self.browser, rows[self.report["culprit"]["index"]], self.drawn)
        self.quiet()

    def test_thousands_of_layers(self):
        """A UNet with its experts: drawn soon, the groups around the culprit open, the others not yet made."""
        start = time.monotonic()
        rows = self.load("unet")
        took = time.monotonic() - start
        check(len(rows) > 2000, "taps", len(rows))
        check(took < 5, "drawn after", took, "s")
        culprit = rows[self.report["culprit"]["index"]]
        check_details(self.browser, culprit, self.drawn)
        visible = self.browser.run("return document.querySelector(`.layer[data-row='${arguments[0]}']`).offsetParent !== null", culprit["index"])
        check(visible, "the culprit is in an open group")
        check(self.browser.run("return document.querySelectorAll('.layer').length") < len(rows) / 2, "closed groups are empty")
        check(self.browser.run(OPEN_ALL) == list(range(len(rows))), "layers of the tree")
        self.quiet()

    def test_dark_and_light(self):
        self.load("unet")
        paper = []
        for scheme in ("light", "dark"):
            self.browser.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            self.browser.cdp("Emulation.setDeviceMetricsOverride", width=1200, height=1150, deviceScaleFactor=1, mobile=False)
            time.sleep(0.2)
            paper.append(self.browser.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"))
            check(self.browser.run("return window.scrollY") == 0, "the page does not begin at its head")
            self.browser.screenshot(os.path.join(self.folder, f"report-{scheme}.png"))
        self.browser.cdp("Emulation.setEmulatedMedia", features=[])
        self.browser.cdp("Emulation.clearDeviceMetricsOverride")
        check(min(paper[0]) > 200 and max(paper[1]) < 60, "paper", paper)
        self.quiet()

    def test_phone(self):
        """360 points wide: nothing sticks out sideways, text stays legible."""
        for name in ("mutant", "hostile"):
            self.load(name)
            self.browser.cdp("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
            time.sleep(0.2)
            self.browser.run(OPEN_ALL)
            wide = self.browser.run("return [document.documentElement.scrollWidth, window.innerWidth]")
            size = self.browser.run("return Math.min(...[...document.querySelectorAll('.layer, td, p')].map((e) => parseFloat(getComputedStyle(e).fontSize)))")
            self.browser.screenshot(os.path.join(self.folder, f"phone-{name}.png"))
            self.browser.cdp("Emulation.clearDeviceMetricsOverride")
            check(wide[0] <= wide[1] == 360, name, "sideways", wide)
            check(size >= 12, "font", size)
        self.quiet()
