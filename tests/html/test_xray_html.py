"""test_xray_html.py - the page of mole generate --xray in a real browser: opened, clicked, dragged, typed at, read.
run.py runs it.

What the page must show is computed here, in plain Python, from a trace of the same run."""
import json
import math
import os
import re
import struct
import subprocess
import time

from browser import check

PROMPT = "a smiling woman with long red hair and glasses, wearing a green sweater, showing two fingers in a park"
DEMO = "golden/models/people"
PEOPLE = ["--model", DEMO, "--face", DEMO + "-mole/face.safetensors", "--hand", DEMO + "-mole/hand.safetensors",
          "--gates", DEMO + "-mole/gates.safetensors", "--seed", "1", "--steps", "20", "--scale", "4"]
MOLE = "golden/models/sd15-tiny-mole/"
TINY = ["--model", "golden/models/sd15-tiny", "--face", MOLE + "face.safetensors", "--hand", MOLE + "hand.safetensors",
        "--gates", MOLE + "gates.safetensors", "--width", "48", "--height", "64", "--steps", "10"]
HOSTILE = "</script><img src=x onerror=window.hacked=1> \"'&lt; \x1b[31m \u202e(turned) <b>bold</b>"
LARGEST = 3_000_000
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
LAYER = "unet.down_blocks.0.attentions.0.proj_in"
WORDS = "unet.up_blocks.1.attentions.0.transformer_blocks.0.attn2"


# ---- the trace ------------------------------------------------------------------------------------------------

class Trace:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        length = struct.unpack("<Q", self.data[:8])[0]
        self.header = json.loads(self.data[8:8 + length])
        self.start = 8 + length

    def row(self, step, name):
        """The last row of the batch, flat, in torch's order; and the whole shape."""
        entry = self.header.get(f"step.{step:03}/{name}")
        if entry is None:
            return None, None
        shape, (begin, end) = entry["shape"], entry["data_offsets"]
        bytes_ = self.data[self.start + begin:self.start + end]
        numbers = struct.unpack(f"<{len(bytes_) // 4}f", bytes_)
        return numbers[len(numbers) - math.prod(shape[1:]):], shape


def close(shown, value, digits=4):
    """Whether a displayed text is the value, to that many digits less a little, since the page's data have five."""
    return shown != "–" and abs(float(shown) - value) <= abs(value) * 1.02 * 10.0 ** (1 - digits) + 1e-9


def figures(numbers):
    mean = math.fsum(numbers) / len(numbers)
    return {"mean": mean, "deviation": math.sqrt(math.fsum((x - mean) ** 2 for x in numbers) / len(numbers)),
            "least": min(numbers), "most": max(numbers)}


SEEN = """
const text = (css) => (document.querySelector(css) || {}).textContent, out = {};
for (const e of document.querySelectorAll("#module [data-field]")) out[e.dataset.field] = e.textContent;
return {name: text("#chosen .name"), fields: out, step: document.getElementById("step").value, text: text("#step-text"),
        tiles: [...document.querySelectorAll("#tiles canvas")].map((c) => [c.width, c.height]), said: text("#said")};
"""


SET_STEP = "const s = document.getElementById('step'); s.value = arguments[0]; s.dispatchEvent(new Event('input'))"
BLOCKS = "return [...document.querySelectorAll('.block[aria-current=true]')].map((b) => b.dataset.block)"
LISTED = "return [...document.querySelectorAll('#modules button')].map((b) => Number(b.dataset.module))"
SIZES = """return [...document.querySelectorAll('#pictures img')]
    .map((i) => [i.naturalWidth, i.naturalHeight, i.alt > ''])"""
PIXELS = """return [...document.querySelectorAll('#tiles canvas')].map((c) =>
    [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data])"""
SHARES = """return [...document.querySelectorAll('#words [data-word]')].map((e) =>
    [e.textContent, Number(e.dataset.value)])"""
FOCUS = """const e = document.activeElement;
    return e.id || e.dataset.block || (e.dataset.module ? 'module' : e.className || e.tagName)"""
EVENTS = """for (const e of document.querySelectorAll('*')) {
    e.dispatchEvent(new Event('mouseover')); e.dispatchEvent(new Event('error')); }"""
ODD = """return [...document.querySelectorAll('b:not(#code b), iframe, object, img:not(#pictures img), [onerror]')]
    .map((e) => e.outerHTML)"""
SMALLEST = """return Math.min(...[...document.querySelectorAll('button, td, th, p, figcaption, pre')]
    .map((e) => parseFloat(getComputedStyle(e).fontSize)))"""
RESNETS = r"unet\.up_blocks\.\d+\.resnets\.\d+$"
GIVE_H = r"unet\.(mid_block|up_blocks\.\d+\.(resnets|attentions|upsamplers)\.\d+)$"


class Tests:
    def __init__(self, browser, folder, programs):
        """Makes the pages, and a trace of the one with experts."""
        self.browser, self.folder, self.program = browser, folder, programs["mole"]
        self.make(programs, "demo", PEOPLE + ["--prompt", PROMPT])
        self.make(programs, "plain", ["--model", DEMO, "--steps", "2", "--prompt", PROMPT])
        self.make(programs, "gates",
                  TINY + ["--prompt", "a woman waving her hand", "--trace", self.file("xray.safetensors")])
        self.make(programs, "prompt", TINY + ["--prompt", HOSTILE, "--steps", "1"])
        self.trace = Trace(self.file("xray.safetensors"))
        self.data = None

    def file(self, name):
        return os.path.join(self.folder, name)

    def make(self, programs, name, options):
        command = [programs["mole"], "generate", "-q", "-o", self.file(f"xray-{name}.png"),
                   "--xray", self.file(f"xray-{name}.html")]
        made = subprocess.run(command + options, capture_output=True, text=True)
        check(made.returncode == 0, made.stderr)

    def load(self, name, module=""):
        self.browser.requested()
        self.browser.open(self.file(f"xray-{name}.html"), "#" + module if module else "")
        for _ in range(100):
            if self.browser.run("return document.getElementById('chosen') !== null"):
                break
            time.sleep(0.05)
        self.data = json.loads(self.browser.run("return document.getElementById('data').textContent"))

    def module(self, name):
        return next(m for m in self.data["modules"] if m["name"] == name)

    def seen(self):
        return self.browser.run(SEEN)

    def quiet(self):
        """Nothing complained, and nothing was asked for but the page itself and what stands in it."""
        complaints = self.browser.complaints()
        check(not complaints, "the console is not empty", complaints[:3])
        asked = [u for u in self.browser.requested() if not u.startswith(("data:", "about:"))]
        check(all(u.startswith("file://" + self.folder) and ".html" in u for u in asked), "asked for", asked)

    def size(self, width, height, phone=False):
        self.browser.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                         mobile=phone)
        time.sleep(0.2)

    # ---- what is shown ----------------------------------------------------------------------------------------

    def test_size_of_the_demo(self):
        for name in ("demo", "gates"):
            size = os.path.getsize(self.file(f"xray-{name}.html"))
            check(size <= LARGEST, name, "takes", size)
        with open(self.file("xray-demo.html"), encoding="utf-8") as file:
            page = file.read()
        address = re.search(r"""(src|href)=["']?(?!data:)|@import|url\(""", page.split('id="data"')[0])
        check(not address, "an address in the page")

    def test_opens_at_the_last_step(self):
        self.load("demo")
        check(self.seen()["text"] == "step 20 of 20, timestep 1", self.seen()["text"])
        check(self.browser.text("#prompt") == PROMPT, "prompt")
        check("Steps: 20" in self.browser.text("#settings"), "settings")
        sizes = self.browser.run(SIZES)
        check(sizes == [[16, 16, True], [128, 128, True], [128, 128, True]], "pictures", sizes)
        self.quiet()

    def test_click_through_the_u(self):
        """Every block shows its output; in one, every module."""
        self.load("demo")
        for block, name in (("conv_in", "unet.conv_in"), ("down_blocks.1", "unet.down_blocks.1"),
                            ("mid_block", "unet.mid_block"), ("up_blocks.2", "unet.up_blocks.2"), ("out", "unet"),
                            ("timestep", "unet.time_embedding"), ("sampler", "latents")):
            self.browser.click(f".block[data-block='{block}']")
            check(self.seen()["name"] == name, block, self.seen()["name"])
            current = self.browser.run(BLOCKS)
            check(current == [block], "marked", current)
        self.browser.click(".block[data-block='up_blocks.1']")
        wanted = [i for i, m in enumerate(self.data["modules"]) if re.match(r"unet\.up_blocks\.1(\.|$)", m["name"])]
        listed = self.browser.run(LISTED)
        check(listed == wanted, "modules of the block", listed)
        for i in wanted[:6]:
            self.browser.click(f"#modules button[data-module='{i}']")
            check(self.seen()["name"] == self.data["modules"][i]["name"], "module", i)
        self.quiet()

    def test_all_modules_can_be_shown(self):
        for page in ("demo", "gates"):
            self.load(page)
            shown = self.browser.run("""const names = [];
                for (const block of document.querySelectorAll('.block')) {
                  block.click();
                  for (const i of [...document.querySelectorAll('#modules button')].map((b) => b.dataset.module)) {
                    document.querySelector(`#modules button[data-module="${i}"]`).click();
                    names.push(document.querySelector('#chosen .name').textContent);
                  }
                }
                return names;""")
            check(sorted(shown) == sorted(m["name"] for m in self.data["modules"]), "names")
            self.quiet()

    def test_equation_and_code(self):
        """Of each kind: the code is that of the file, the equation is there."""
        self.load("gates")
        for kind, of in self.data["kinds"].items():
            for code in of["code"]:
                with open(code["file"], encoding="utf-8") as file:
                    check(code["text"] in file.read(), code["file"], code["function"])
        self.load("gates", LAYER)
        check("sigmoid(Phi_i . x[t] + phi_i)" in self.browser.text("#equation"), "equation")
        check("local_gate" in self.browser.run("return document.getElementById('code').textContent"), "code")
        self.browser.run("document.querySelectorAll('#code summary')[1].id = 'second'")
        self.browser.click("#second")
        check("static void local_gate" in self.browser.text("#code details:nth-child(2) pre"), "unfolded code")
        self.quiet()

    def test_figures_are_the_traces(self):
        """In plain Python, for layers of each shape, at three steps."""
        names = ["unet.conv_in", "unet.time_embedding", "unet.mid_block", LAYER, WORDS + ".to_k", WORDS, "guided",
                 "latents"]
        for name in names:
            self.load("gates", name)
            for step in (0, 4, 9):
                numbers, shape = self.trace.row(step, name)
                self.browser.run(SET_STEP, step)
                fields = self.seen()["fields"]
                check(fields["shape"] == "(" + ", ".join(map(str, shape)) + ")", name, fields["shape"])
                for key, value in figures(numbers).items():
                    check(close(fields[key], value), name, step, key, fields[key], value)
            self.quiet()

    def test_tiles(self):
        """The cells of a small layer are the numbers of the trace, in the colours of the scale."""
        self.load("gates", "unet.conv_in")
        m, kept = self.module("unet.conv_in"), self.data["kept"]
        check(kept[0] == 0 and kept[-1] == 9 and len(kept) == 8, "kept", kept)
        check(m["channels"] == [0, 5, 10, 15], "channels", m["channels"])
        numbers, shape = self.trace.row(9, "unet.conv_in")
        P = shape[2] * shape[3]
        tiles = [numbers[c * P:(c + 1) * P] for c in m["channels"]]
        low, high = min(map(min, tiles)), max(map(max, tiles))
        check(abs(m["tiles"]["low"][-1] - low) < 1e-4 * abs(low), "low")
        check(abs(m["tiles"]["high"][-1] - high) < 1e-4 * abs(high), "high")
        levels = [ALPHABET.index(c) for c in m["tiles"]["cells"][-1]]
        for i, x in enumerate(v for t in tiles for v in t):
            check(abs(levels[i] - 63 * (x - low) / (high - low)) < 0.51, "cell", i)
        drawn = self.browser.run(PIXELS)
        light = {}
        for picture, data in enumerate(drawn):
            for p in range(P):
                r, g, b = data[4 * p:4 * p + 3]
                light[levels[picture * P + p]] = 0.3 * r + 0.6 * g + 0.1 * b
        order = [light[k] for k in sorted(light)]
        check(all(y > x for x, y in zip(order, order[1:])), "larger is lighter")
        text = self.browser.text("#module .scale-text")
        for end in ("low", "high"):
            check(f"{m['tiles'][end][-1]:.4g}" in text, "scale in words", text)
        self.quiet()

    def test_gates(self):
        for step in (0, 9):
            self.load("gates", LAYER)
            self.browser.run(SET_STEP, step)
            fields = self.seen()["fields"]
            for e, expert in enumerate(("face", "hand")):
                gate, _ = self.trace.row(step, f"{LAYER}.mole.{expert}.global")
                check(close(fields[f"global-{e}"].split()[1], gate[0]), expert, "global", fields[f"global-{e}"], gate)
                local, _ = self.trace.row(step, f"{LAYER}.mole.{expert}.local")
                found = re.fullmatch(rf"{expert}: mean (\S+), from (\S+) to (\S+)", fields[f"local-{e}"])
                check(found, fields[f"local-{e}"])
                for text, key in zip(found.groups(), ("mean", "least", "most")):
                    check(close(text, figures(local)[key]), expert, key, text)
                cells = self.module(LAYER)["gates"][e]["local"]["cells"][0 if step == 0 else -1]
                check(all(abs(ALPHABET.index(c) - 63 * x) < 0.51 for c, x in zip(cells, local)), expert, "map")
            small = self.browser.run("return document.querySelectorAll('#gates canvas.small').length")
            check(small == 16, "a small map of each step that is kept", small)
            check(self.browser.run("return document.querySelectorAll('#gates svg').length") == 3, "curves")
        self.load("plain", LAYER)
        check(self.browser.run("return document.getElementById('gates')") is None, "no gates without experts")
        self.quiet()

    def test_words(self):
        """The share of each word, by a softmax in plain Python."""
        self.load("gates", WORDS)
        q, shape = self.trace.row(9, WORDS + ".to_q")
        k, key_shape = self.trace.row(9, WORDS + ".to_k")
        T, C, S, heads = shape[1], shape[2], key_shape[1], 8
        D = C // heads
        share = [0.0] * S
        for t in range(T):
            for h in range(heads):
                dots = [sum(q[t * C + h * D + d] * k[s * C + h * D + d] for d in range(D)) for s in range(S)]
                e = [math.exp(dot / math.sqrt(D)) for dot in dots]
                for s in range(S):
                    share[s] += e[s] / sum(e) / (T * heads)
        words = self.browser.run(SHARES)
        names = [w[0].rsplit(" ", 2)[0] for w in words]
        check(names == ["a", "woman", "waving", "her", "hand", "start, end and padding"], words)
        at = 1
        for text, value in words[:-1]:
            pieces = self.words_tokens(text.rsplit(" ", 2)[0])
            truth = sum(share[at:at + pieces])
            check(abs(value - truth) < 1e-4 * truth + 1e-7, text, value, truth)
            check(text.endswith(f"{100 * value:.1f} %"), text)
            at += pieces
        check(abs(sum(v for _, v in words) - 1) < 1e-4, "all of it")
        check(self.browser.run("return document.querySelectorAll('#words canvas').length") == 6, "maps")
        self.quiet()

    def words_tokens(self, word):
        """How many tokens a word of the tiny model's prompt is: its vocabulary merges these words or spells them."""
        said = subprocess.run([self.program, "tokenize", "--model", "golden/models/sd15-tiny", "--json", word],
                              capture_output=True, text=True)
        return len(json.loads(said.stdout))

    def test_skips(self):
        """The channels of h and of the skip are together what the first norm of the ResNet gets."""
        for page in ("demo", "gates"):
            self.load(page)
            for m in [m for m in self.data["modules"] if re.match(RESNETS, m["name"])]:
                self.load(page, m["name"])
                skip = self.module("unet." + self.browser.text("#skip button"))
                at = self.data["modules"].index(m)
                norm = self.module(m["name"] + ".norm1")
                before = [x for x in self.data["modules"][:at] if re.match(GIVE_H, x["name"])]
                check(norm["shape"][1] == before[-1]["shape"][1] + skip["shape"][1], m["name"], skip["name"])
                check(norm["shape"][2:] == skip["shape"][2:], m["name"], "size", skip["name"])
            self.browser.click("#skip button")
            check(self.seen()["name"] == skip["name"] == "unet.conv_in", "the last skip", skip["name"])
            self.quiet()

    # ---- hands and keys ---------------------------------------------------------------------------------------

    def test_drag_the_slider(self):
        self.load("demo")
        width = self.browser.run("return document.getElementById('step').getBoundingClientRect().width")
        before = self.browser.run("return document.getElementById('clean').src")
        self.browser.drag("#step", round(width / 2 - 10), round(-width / 2 + 2))
        check(self.seen()["step"] == "0" and self.seen()["text"].startswith("step 1 of 20, timestep "), self.seen())
        shown = self.browser.run("return ['latents', 'clean'].map((i) => document.getElementById(i).src)")
        check(shown == [self.data["latents"][0], self.data["clean"][0]] and shown[1] != before, "pictures of the step")
        self.browser.drag("#step", round(-width / 2 + 8), 0)
        check(self.seen()["step"] in ("9", "10"), self.seen()["step"])
        fields = self.seen()["fields"]
        check(close(fields["mean"], self.module("unet.mid_block")["mean"][int(self.seen()["step"])], 3), fields)
        self.quiet()

    def test_play(self):
        self.load("gates")
        self.browser.click("#play")
        pressed = self.browser.run("return document.getElementById('play').getAttribute('aria-pressed')")
        check(pressed == "true", "pressed", pressed)
        time.sleep(1.3)
        self.browser.click("#play")
        at = self.seen()["step"]
        check(at in ("0", "1", "2"), "went on", at)
        time.sleep(0.7)
        check(self.seen()["step"] == at, "stopped")
        self.quiet()

    def test_keyboard_alone(self):
        self.load("demo")
        seen = []
        for _ in range(16):
            self.browser.press("Tab")
            seen.append(self.browser.run(FOCUS))
        check(seen[:4] == ["play", "step", "timestep", "conv_in"], "tab order", seen)
        check("module" in seen, "tab reaches the modules", seen)
        outline = self.browser.run("document.querySelector('.block').focus({focusVisible: true});"
                                   "return getComputedStyle(document.activeElement).outlineWidth")
        check(outline == "3px", "focus is seen", outline)
        self.browser.run("document.getElementById('step').focus()")
        self.browser.press("Left", "Left", "Right", "Home", "Right")
        check(self.seen()["step"] == "1", "keys of the slider", self.seen()["step"])
        self.browser.run("document.querySelector('.block[data-block=conv_in]').focus()")
        self.browser.press("Right", "Right", "Left")
        check(self.seen()["step"] == "2", "left and right are steps", self.seen()["step"])
        self.browser.press("Enter", "Down")
        check(self.seen()["name"] == "unet.down_blocks.0", "down is the next block", self.seen()["name"])
        self.browser.press("Up")
        check(self.seen()["name"] == "unet.conv_in", "up is the block before", self.seen()["name"])
        self.browser.run("document.querySelector('#modules button').focus()")
        self.browser.press("Down", "Down")
        name = self.data["modules"][self.data["modules"].index(self.module("unet.conv_in")) + 2]["name"]
        check(self.seen()["name"] == name, "down is the next module", self.seen()["name"])
        focus = self.browser.run("return Number(document.activeElement.dataset.module)")
        check(self.data["modules"][focus]["name"] == name, "focus follows")
        said = self.seen()["said"]
        check(name.replace("unet.", "", 1) in said and "mean" in said, "it is said", said)
        self.quiet()

    def test_cells_can_be_read(self):
        """Under the pointer, and by keys."""
        self.load("gates", "unet.conv_in")
        tiles = self.module("unet.conv_in")["tiles"]
        low, high = tiles["low"][-1], tiles["high"][-1]
        cells = [low + (high - low) * ALPHABET.index(c) / 63 for c in tiles["cells"][-1]]
        self.browser.run("const c = document.querySelector('#tiles canvas'); c.id = 'first';"
                         "c.scrollIntoView(); c.focus()")
        self.browser.press("Right", "Down")
        text = self.browser.text("#tiles .readout")
        check(text.startswith("row 1, column 1: ") and close(text.split()[-1], cells[tiles["columns"] + 1]), text)
        check(self.seen()["step"] == "9", "arrows in a picture are not steps")
        width = self.browser.run("return document.getElementById('first').getBoundingClientRect().width")
        height = width * tiles["rows"] / tiles["columns"]
        self.browser.point("#first", round(-width / 2 + width * 2.5 / tiles["columns"]), round(-height / 2 + 4))
        text = self.browser.text("#tiles .readout")
        check(text.startswith("row 0, column 2: ") and close(text.split()[-1], cells[2]), text)
        self.quiet()

    def test_labels(self):
        """Whatever can be reached by keys, and whatever is a picture, has a name in words."""
        for page, module in (("gates", LAYER), ("gates", WORDS), ("demo", "unet.mid_block")):
            self.load(page, module)
            bare = self.browser.run("""
                return [...document.querySelectorAll("button, input, canvas, svg, img, summary, [tabindex]")]
                    .filter((e) => !(e.getAttribute("aria-label") || e.alt || e.textContent.trim()))
                    .map((e) => e.outerHTML.slice(0, 90))""")
            check(not bare, "without a name", bare)
        self.quiet()

    # ---- hostile texts ----------------------------------------------------------------------------------------

    def test_hostile_prompt(self):
        self.load("prompt", WORDS)
        self.browser.run(EVENTS)
        time.sleep(0.2)
        check(self.browser.run("return typeof window.hacked") == "undefined", "the prompt was executed")
        check(self.browser.run("return document.scripts.length") == 2, "scripts")
        odd = self.browser.run(ODD)
        check(not odd, "elements out of the prompt", odd)
        shown = HOSTILE.replace("\x1b", "‹U+001B›").replace("\u202e", "‹U+202E›")
        check(self.browser.run("return document.getElementById('prompt').textContent") == shown, "prompt")
        turned = self.browser.run("return /[\\u202a-\\u202e]/.test(document.body.innerText)")
        check(not turned, "a character turns the text")
        words = self.browser.run("return [...document.querySelectorAll('#words .name')].map((e) => e.textContent)")
        check("script" in words and "</" in words, words)
        self.quiet()

    def test_hostile_names(self):
        """A module, a word and an expert of any name: into the data of a page, as a program gone wrong would."""
        with open(self.file("xray-gates.html"), encoding="utf-8") as file:
            page = file.read()
        bad = json.dumps("<img src=x onerror=window.hacked=1>\u202e'\"</b>").replace("<", "\\u003c")
        for good in (json.dumps("unet.mid_block"), json.dumps("face"), json.dumps("woman")):
            check(good in page, good)
            page = page.replace(good, bad)
        with open(self.file("xray-names.html"), "w", encoding="utf-8") as file:
            file.write(page)
        self.load("names", WORDS)
        self.browser.run("for (const b of document.querySelectorAll('.block')) b.click()")
        self.browser.run(EVENTS)
        time.sleep(0.1)
        check(self.browser.run("return typeof window.hacked") == "undefined", "a name was executed")
        odd = self.browser.run(ODD)
        check(not odd, "elements out of names", odd)
        self.quiet()

    def test_address_of_a_module(self):
        self.load("demo", "unet.up_blocks.0.resnets.1.conv2")
        check(self.seen()["name"] == "unet.up_blocks.0.resnets.1.conv2", self.seen()["name"])
        for wrong in ("nothing", "%E0%A4%A", "<img>"):
            self.load("demo", wrong)
            check(self.seen()["name"] == "unet.mid_block", wrong, self.seen()["name"])
        self.quiet()

    # ---- screens ----------------------------------------------------------------------------------------------

    def test_dark_and_light(self):
        paper = []
        self.size(1200, 1000)
        self.load("demo", WORDS)
        self.browser.run(SET_STEP, 7)
        for scheme in ("light", "dark"):
            feature = {"name": "prefers-color-scheme", "value": scheme}
            self.browser.cdp("Emulation.setEmulatedMedia", features=[feature])
            time.sleep(0.2)
            colour = self.browser.run("return getComputedStyle(document.body).backgroundColor")
            paper.append([int(n) for n in re.findall(r"\d+", colour)])
            self.browser.screenshot(self.file(f"xray-{scheme}.png"))
        self.browser.cdp("Emulation.setEmulatedMedia", features=[])
        self.load("gates", LAYER)
        self.browser.run("document.getElementById('gates').scrollIntoView()")
        self.browser.screenshot(self.file("xray-experts.png"))
        self.browser.cdp("Emulation.clearDeviceMetricsOverride")
        check(min(paper[0]) > 200 and max(paper[1]) < 60, "paper", paper)
        self.quiet()

    def test_phone(self):
        """360 points wide: nothing sticks out sideways, text stays legible, the slider stays in sight."""
        for page, module in (("demo", WORDS), ("gates", LAYER), ("prompt", WORDS)):
            self.size(360, 740, phone=True)
            self.load(page, module)
            wide = self.browser.run("return [document.documentElement.scrollWidth, window.innerWidth]")
            small = self.browser.run(SMALLEST)
            self.browser.run("document.getElementById('code').scrollIntoView()")
            bar = self.browser.run("const b = document.getElementById('bar').getBoundingClientRect();"
                                   "return [b.top, b.bottom]")
            self.browser.run("window.scrollTo(0, 0)")
            self.browser.screenshot(self.file(f"xray-phone-{page}.png"))
            self.browser.cdp("Emulation.clearDeviceMetricsOverride")
            check(wide[0] <= wide[1] == 360, page, "sideways", wide)
            check(small >= 12, page, "font", small)
            check(bar[0] >= 0 and bar[1] < 200, page, "the slider is out of sight", bar)
        self.quiet()
