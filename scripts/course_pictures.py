"""The pictures of the course: diagrams, and pictures of a trained model at work.

    python scripts/course_pictures.py [--model DIR] [--experts DIR] [--out docs/course/img] [--only NAME]...

DIR is a diffusers folder (default golden/models/people); face, hand and gates.safetensors in it, or in the folder of
--experts, are used where they are. Everything is computed by the C library (scripts/mole_ref); NumPy only puts it
side by side, and Cairo (pycairo) draws letters and the picture that chapter 1 ruins. Colours are kept to 32 levels
per channel, so that the files stay small. Pictures that the model cannot give (gates without experts) are left
out, and said to be.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile

import cairo
import numpy as np

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
sys.path[:0] = [os.path.join(ROOT, "scripts"), os.path.join(ROOT, "scripts", "mole_ref"),
                os.path.join(ROOT, "scripts", "people"), os.path.join(ROOT, "docs", "course", "code")]
import course_diagrams  # noqa: E402
import draw  # noqa: E402
import mole_ref  # noqa: E402
from noise import add_noise, alphas_cumprod  # noqa: E402

PROMPT, WORDS = "a smiling woman with red hair waving her hand in a park", ("hair", "hand", "park")
OTHERS = ("a portrait of a man with a hat at night", "two people at the beach",
          "a close-up of a hand showing two fingers")
SEED, STEPS, SCALE = 7, 20, 5.0
PANEL, GAP, LABEL = 128, 6, 18


# ---- panels ------------------------------------------------------------------------------------------------


def rgb(x):
    """(3,H,W) or (H,W), of 0..1 -> (H,W,3) uint8 of 32 levels"""
    x = np.broadcast_to(x, (3, *x.shape)) if x.ndim == 2 else x
    x = np.rint(np.clip(np.nan_to_num(x), 0, 1) * 31) * 255 / 31
    return np.ascontiguousarray(x.transpose(1, 2, 0)).astype(np.uint8)


def zoomed(image, size):
    """Nearest, to size x size."""
    rows, columns = (np.arange(size) * n // size for n in image.shape[:2])
    return image[rows[:, None], columns]


def grey(x, limit):
    return np.clip(x / (2 * limit) + 0.5, 0, 1)


def heat(x):
    """0..1 -> black, red, yellow, white"""
    return np.stack([np.clip(3 * x, 0, 1), np.clip(3 * x - 1, 0, 1), np.clip(3 * x - 2, 0, 1)])


def sheet(path, rows, size=PANEL):
    """rows: lists of (label, image (H,W,3)). Letters are drawn by Cairo."""
    wide = max(len(row) for row in rows) * (size + GAP) + GAP
    high = len(rows) * (size + GAP + LABEL) + GAP
    pixels = np.full((high, wide, 4), 255, np.uint8)
    places = [(GAP + c * (size + GAP), GAP + r * (size + GAP + LABEL), label, image)
              for r, row in enumerate(rows) for c, (label, image) in enumerate(row)]
    for x, y, _, image in places:
        pixels[y + LABEL : y + LABEL + size, x : x + size, :3] = zoomed(image, size)[:, :, ::-1]
    surface = cairo.ImageSurface.create_for_data(pixels, cairo.FORMAT_RGB24, wide, high)
    context = cairo.Context(surface)
    options = cairo.FontOptions()
    options.set_antialias(cairo.ANTIALIAS_GRAY)
    context.set_font_options(options)
    context.select_font_face("sans-serif")
    context.set_font_size(12)
    for x, y, label, _ in places:
        context.move_to(x + 1, y + LABEL - 5)
        context.show_text(label)
    surface.write_to_png(path)


# ---- runs --------------------------------------------------------------------------------------------------


class Studio:
    """A model, and pictures made with it."""

    def __init__(self, folder, experts=None, precision="f32"):
        self.folder, self.ref = folder, mole_ref.load(precision)
        files = {n: os.path.join(experts or folder, f"{n}.safetensors") for n in ("face", "hand", "gates")}
        self.gated = all(os.path.exists(path) for path in files.values())
        gates = files.pop("gates")
        self.model = self.ref.model(folder, files if self.gated else None, gates if self.gated else None)
        self.scheduler = os.path.join(folder, "scheduler", "scheduler_config.json")
        with open(os.path.join(folder, "unet", "config.json"), encoding="utf-8") as file:
            self.side = json.load(file)["sample_size"]
        self.side = min(self.side, 16)
        self.final = None

    def text(self, prompt):
        ids = np.stack([self.model.tokenizer.row(words) for words in ("", prompt)])
        return self.model.encode_text(ids)

    def steps(self, prompt=PROMPT, seed=SEED, steps=STEPS, scale=SCALE, taps=None, **settings):
        """Yields per step: latents before it, the picture foreseen (latents), latents after it."""
        plan = self.ref.ddim(steps, self.scheduler, **settings)
        shape = (1, self.model.info.latent_channels, self.side, self.side)
        x, context = self.ref.generator(seed).randn(shape), self.text(prompt)
        for k, t in enumerate(plan.timesteps):
            both = self.model.unet(np.repeat(x, 2, axis=0), t, context, taps=taps)
            answer = self.ref.guidance(both[:1], both[1:], scale)
            alpha = float(plan.alphas_cumprod[t])
            if plan.settings["prediction_type"] == "v_prediction":
                foreseen = alpha**0.5 * x - (1 - alpha) ** 0.5 * answer
            else:
                foreseen = (x - (1 - alpha) ** 0.5 * answer) / alpha**0.5
            after = plan.step(k, answer, x)
            yield x, foreseen, after
            x = after

    def latents(self, *args, **options):
        plain = not args and not options  # asked for by many pictures: made once
        if plain and self.final is not None:
            return self.final.copy()
        for _, _, x in self.steps(*args, **options):
            pass
        if plain:
            self.final = x.copy()
        return x

    def decode(self, latents):
        """-> (3,H,W), 0..1"""
        image = self.model.decode(latents / self.model.info.scaling_factor)[0].astype(np.float64)
        return np.clip(image / 2 + 0.5, 0, 1)

    def picture(self, *args, **options):
        return self.decode(self.latents(*args, **options))


# ---- one function per picture ------------------------------------------------------------------------------


def noise(studio, path):
    image = draw.picture(3, "half", 11, 128)["image"].astype(np.float64).reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    x0, rng, alphas = image / 127.5 - 1, np.random.default_rng(0), alphas_cumprod()
    draws = rng.normal(size=x0.shape)
    shown = [(f"t = {t}", add_noise(x0, draws, alphas[t])) for t in (250, 500, 750, 999)]
    sheet(path, [[(label, rgb(x.transpose(2, 0, 1) / 2 + 0.5)) for label, x in [("drawn", x0), *shown]]])


def pictures(studio, path):
    row = [(f"seed {SEED}", studio.picture())]
    row += [(f"prompt {i + 2}", studio.picture(prompt)) for i, prompt in enumerate(OTHERS)]
    sheet(path, [[(label, rgb(x)) for label, x in row]])


def steps(studio, path):
    shown, top, below = np.unique(np.linspace(0, STEPS - 1, 6).astype(int)), [], []
    for k, (x, foreseen, _) in enumerate(studio.steps()):
        if k in shown:
            top.append((f"step {k}: x", rgb(grey(x[0, :3], 3))))
            below.append(("x0", rgb(studio.decode(foreseen))))
    sheet(path, [top, below])


def latents(studio, path):
    x = studio.latents()
    row = [("decoded", rgb(studio.decode(x)))]
    limit = np.abs(x).max()
    row += [(f"channel {c}", rgb(grey(x[0, c], limit))) for c in range(min(x.shape[1], 4))]
    sheet(path, [row])


def patch(studio, path):
    x = studio.latents()
    before = studio.decode(x)
    x[0, :, studio.side // 4, studio.side // 2] += 2 * np.abs(x).mean()
    after = studio.decode(x)
    difference = np.abs(after - before).mean(axis=0)
    difference /= difference.max() or 1
    sheet(path, [[("decoded", rgb(before)), ("one place changed", rgb(after)), ("difference", rgb(difference))]])


def last_taps(studio, wanted):
    """Taps of the last step whose name wanted() likes, the prompt's row."""
    kept = {}

    def keep(name, x):
        if wanted(name):
            kept[name] = x[-1].copy()

    studio.latents(taps=keep)
    return kept


def channels(studio, path):
    block = "unet.down_blocks.0.resnets.0"
    labels = {"unet.conv_in": "x", f"{block}.norm1": "norm1", f"{block}.conv1": "conv1", block: "out"}
    taps = last_taps(studio, labels.__contains__)
    rows = []
    for name in labels:
        x = taps[name]
        rows.append([(labels[name] if c == 0 else "", rgb(grey(x[c], np.abs(x).max()))) for c in range(4)])
    sheet(path, rows, size=96)


def attention_of(studio, words):
    """Mean over heads, layers and steps of the attention to each word's tokens -> (words, side, side)"""
    with open(os.path.join(studio.folder, "unet", "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    ids = list(studio.model.tokenizer.row(PROMPT))
    places = []
    for word in words:
        own = list(studio.model.tokenizer.encode(word))
        at = [i for i in range(len(ids)) if ids[i : i + len(own)] == own][0]
        places.append(slice(at, at + len(own)))
    total, count, queries = np.zeros((len(words), studio.side, studio.side)), 0, {}

    def see(name, x):
        nonlocal total, count
        if name.endswith("attn2.to_q"):
            queries[name] = x[-1].copy()
        if not name.endswith("attn2.to_k"):
            return
        q, k = queries.pop(name[:-1] + "q").astype(np.float64), x[-1].astype(np.float64)
        C, side = q.shape[1], int(round(len(q) ** 0.5))
        level = list(config["block_out_channels"]).index(C)
        heads = config.get("num_attention_heads") or config["attention_head_dim"]
        heads = heads[level] if isinstance(heads, list) else heads
        q, k = q.reshape(-1, heads, C // heads), k.reshape(-1, heads, C // heads)
        scores = np.einsum("thd,shd->hts", q, k) / (C // heads) ** 0.5
        weight = np.exp(scores - scores.max(axis=2, keepdims=True))
        weight /= weight.sum(axis=2, keepdims=True)
        for i, place in enumerate(places):
            total[i] += zoomed(weight[:, :, place].sum(axis=2).mean(axis=0).reshape(side, side), studio.side)
        count += 1

    studio.latents(taps=see)
    return total / count


def words(studio, path):
    row = [("picture", rgb(studio.picture()))]
    for word, seen in zip(WORDS, attention_of(studio, WORDS)):
        low, high = seen.min(), seen.max()
        row.append((f'"{word}"', rgb(heat((seen - low) / (high - low or 1)))))
    sheet(path, [row])


def vectors(studio, path):
    tokenizer = studio.model.tokenizer
    ids = tokenizer.encode(PROMPT)
    x = studio.text(PROMPT)[1, 1 : len(ids) + 1].astype(np.float64)
    x -= x.mean(axis=0)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    near = x @ x.T
    size = 18 * len(ids)
    labels = [tokenizer.piece(i).replace("</w>", "") for i in ids]
    pixels = np.full((size + 70, size + 130, 4), 255, np.uint8)
    pixels[70:, 80:-50, :3] = zoomed(rgb(np.clip(near / 2 + 0.5, 0, 1)), size)
    surface = cairo.ImageSurface.create_for_data(pixels, cairo.FORMAT_RGB24, size + 130, size + 70)
    context = cairo.Context(surface)
    context.select_font_face("sans-serif")
    context.set_font_size(12)
    for i, label in enumerate(labels):
        context.move_to(76 - context.text_extents(label).x_advance, 70 + 18 * i + 13)
        context.show_text(label)
        context.save()
        context.translate(80 + 18 * i + 13, 66)
        context.rotate(-np.pi / 3)
        context.move_to(0, 0)
        context.show_text(label)
        context.restore()
    surface.write_to_png(path)


def levels(studio, path):
    """The strength of all channels at the end of each block."""
    blocks = ("down_blocks", "up_blocks")
    taps = last_taps(studio, lambda n: n == "unet.mid_block" or n.count(".") == 2 and n.split(".")[1] in blocks)
    down = [(n, x) for n, x in taps.items() if "down" in n]
    rest = [(n, x) for n, x in taps.items() if "down" not in n]
    rest.sort(key=lambda pair: "up" in pair[0])

    def panel(name, x):
        strength = np.sqrt((x.astype(np.float64) ** 2).mean(axis=0))
        strength = (strength - strength.min()) / ((strength.max() - strength.min()) or 1)
        return f"{name.split('.', 1)[1]} {x.shape[1]}x{x.shape[2]}", rgb(heat(strength))

    sheet(path, [[panel(*pair) for pair in row] for row in (down, rest)])


def scales(studio, path):
    sheet(path, [[(f"scale {s:g}", rgb(studio.picture(scale=s))) for s in (1, 3, 7.5, 15)]])


def gates(studio, path):
    """Local gates over the picture, mean over layers that see it and steps; global gates, their mean."""
    if not studio.gated:
        return "no experts"
    total, count = {}, {}

    def see(name, x):
        part = name.split(".mole.")[-1]
        if ".mole." not in name or part.split(".")[-1] not in ("local", "global"):
            return
        value = x[-1].astype(np.float64)
        if part.endswith("local"):
            side = int(round(value.size**0.5))
            if side * side != value.size or (".attn2.to_k" in name or ".attn2.to_v" in name):
                return
            value = zoomed(value.reshape(side, side), studio.side)
        total[part] = total.get(part, 0) + value
        count[part] = count.get(part, 0) + 1

    image = studio.decode(studio.latents(taps=see))
    row = [("picture", rgb(image))]
    for name in ("face", "hand"):
        both = total[f"{name}.global"] / count[f"{name}.global"]
        row.append((f"{name}: global {float(np.mean(both)):.2f}", rgb(total[f"{name}.local"] / count[f"{name}.local"])))
    sheet(path, [row])
    return None


def two_types(studio, path):
    single = studio.picture()
    double = Studio(studio.folder, precision="f64").picture() if not studio.gated else None
    if double is None:
        double = Studio(studio.folder, studio.experts, "f64").picture()
    difference = np.abs(single - double).max(axis=0)
    most = difference.max() or 1
    row = [("float32", rgb(single)), ("float64", rgb(double)), (f"difference x {1 / most:.0e}", rgb(difference / most))]
    sheet(path, [row])


def velocity(studio, path):
    plan = studio.ref.ddim(STEPS, studio.scheduler)
    right = plan.settings["prediction_type"]
    other = "epsilon" if right == "v_prediction" else "v_prediction"
    row = [(f"as {kind}", rgb(studio.picture(prediction_type=kind))) for kind in (right, other)]
    sheet(path, [row])


def changed(studio, file, **keys):
    """A picture by the same model with other settings in one of its files."""
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "model")
        shutil.copytree(studio.folder, copy)
        path = os.path.join(copy, file)
        with open(path, encoding="utf-8") as old:
            config = json.load(old)
        config.update(keys)
        with open(path, "w", encoding="utf-8") as new:
            json.dump(config, new)
        return Studio(copy, studio.experts).picture()


def by_eye(studio, path):
    with open(os.path.join(studio.folder, "text_encoder", "config.json"), encoding="utf-8") as file:
        other = "gelu" if json.load(file)["hidden_act"] == "quick_gelu" else "quick_gelu"
    row = [
        ("right", studio.picture()),
        ("A", changed(studio, "unet/config.json", norm_eps=1e-6)),
        ("B", changed(studio, "scheduler/scheduler_config.json", beta_schedule="linear")),
        ("C", changed(studio, "text_encoder/config.json", hidden_act=other)),
        ("D", changed(studio, "vae/config.json", scaling_factor=1.4 * studio.model.info.scaling_factor)),
    ]
    sheet(path, [[(label, rgb(x)) for label, x in row]])


def fewer(studio, path):
    sheet(path, [[(f"{n} steps", rgb(studio.picture(steps=n))) for n in (50, 20, 10, 5, 2)]])


PICTURES = {"00-pictures": pictures, "01-noise": noise, "01-steps": steps, "02-latents": latents, "02-patch": patch,
            "03-channels": channels, "04-word": words, "05-vectors": vectors, "06-levels": levels,
            "07-scales": scales, "08-gates": gates, "09-types": two_types, "10-velocity": velocity,
            "11-by-eye": by_eye, "12-fewer": fewer}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default=os.path.join(ROOT, "golden", "models", "people"))
    p.add_argument("--experts")
    p.add_argument("--out", default=os.path.join(ROOT, "docs", "course", "img"))
    p.add_argument("--only", action="append", choices=PICTURES)
    a = p.parse_args()
    os.makedirs(a.out, exist_ok=True)
    if not a.only:
        course_diagrams.make(a.out)
    studio = Studio(a.model, a.experts)
    studio.experts = a.experts
    total = 0
    for name in a.only or PICTURES:
        path = os.path.join(a.out, f"{name}.png")
        why = PICTURES[name](studio, path)
        print(f"{name}: " + (f"left out, {why}" if why else f"{os.path.getsize(path) // 1024} KiB"), flush=True)
        total += 0 if why else os.path.getsize(path)
    print(f"{total // 1024} KiB")


if __name__ == "__main__":
    main()
