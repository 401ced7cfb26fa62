"""What the stages learn from: crops for the VAE, and latents with captions and masks, drawn once.

The n-th batch of a stage depends on the seed and n alone, so that an interrupted training goes on with the
batch that it would have seen.
"""

import json
import shutil
import zlib
from pathlib import Path

import numpy as np
import torch
from attributes import pick
from captions import caption
from draw import SIZE, picture
from words import LENGTH, encode

SEEDS = {"base": 100, "face": 200, "hand": 300, "held": 900, "vae": 500}
CHUNK = 250
NONE = ""  # the caption of a dropped caption


class BadState(Exception):
    """A folder or a file that this training cannot go on with; the message says what to do."""


def lots(recipe, *names):
    """A NumPy generator for this recipe and these names or numbers."""
    return np.random.default_rng([recipe["seed"], zlib.crc32(repr(names).encode())])


def noise(recipe, *names):
    """A torch generator, likewise."""
    seed = recipe["seed"] * 2**32 + zlib.crc32(repr(names).encode())
    return torch.Generator().manual_seed(seed)


def as_input(images):
    """(B,H,W,3) uint8 to (B,3,H,W) in -1..1."""
    x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    return x / 127.5 - 1


# ---- the VAE's pictures -----------------------------------------------------------------------------

VAE_KINDS = {"half": 0.35, "hand": 0.2, "face": 0.15, "portrait": 0.15, "two": 0.15}


def centre(rng, made):
    """Where to cut: mostly on a hand or a face."""
    masks = [made[name] for name in ("hand", "face") if made[name].any()]
    if masks and rng.random() < 0.55:
        ys, xs = np.nonzero(masks[0] if rng.random() < 0.7 else masks[-1])
        i = int(rng.integers(len(ys)))
        return int(ys[i]), int(xs[i])
    return int(rng.integers(SIZE)), int(rng.integers(SIZE))


def vae_batch(recipe, step, batch, crop):
    """(pictures (B,3,crop,crop), weights (B,1,crop,crop)): two crops of each picture."""
    rng = lots(recipe, "vae", step)
    images, weights = [], []
    while len(images) < batch:
        kind = pick(rng, VAE_KINDS, list(VAE_KINDS.values()))
        made = picture(SEEDS["vae"], kind, int(rng.integers(2**31)))
        weight = 1 + made["hand"] / 255 + 0.5 * (made["face"] / 255)
        for _ in range(2 if crop < SIZE else 1):
            y, x = (min(max(v - crop // 2, 0), SIZE - crop) for v in centre(rng, made))
            images.append(made["image"][y : y + crop, x : x + crop])
            weights.append(weight[y : y + crop, x : x + crop])
    return as_input(images), torch.from_numpy(np.stack(weights)[:, None]).float()


# ---- latents on disk --------------------------------------------------------------------------------

def kind_of(recipe, name, index):
    """The kind of the n-th picture of a set: by lot, in the set's proportions."""
    mixture = recipe["sets"][name][1]
    return pick(lots(recipe, "kind", name, index), mixture, list(mixture.values()))


def drawn(recipe, name, index):
    """The n-th picture of a set."""
    return picture(SEEDS[name], kind_of(recipe, name, index), index)


class Cache:
    """A set as arrays: latents (N,C,h,w) float16, tokens (N,captions,77), masks (N,2,h,w) uint8, kinds."""

    def __init__(self, folder, recipe, name):
        self.folder, self.recipe, self.name = Path(folder) / "sets" / name, recipe, name
        self.count, self.mixture = recipe["sets"][name]
        side, channels = recipe["unet"]["sample_size"], recipe["vae"]["latent_channels"]
        self.shapes = {
            "latents": ((self.count, channels, side, side), np.float16),
            "tokens": ((self.count, recipe["captions"], LENGTH), np.uint16),
            "masks": ((self.count, 2, side, side), np.uint8),
            "kinds": ((self.count,), "U8"),
        }

    def bytes(self):
        return sum(int(np.prod(s)) * np.dtype(t).itemsize for s, t in self.shapes.values())

    def made_by(self, vae_hash):
        """What the arrays depend on beside the code."""
        kept = (vae_hash, self.recipe["drawings"], self.recipe["merges"], sorted(self.mixture.items()))
        return f"{zlib.crc32(repr((*kept, self.shapes)).encode()):08x}"

    def progress(self):
        path = self.folder / "progress.json"
        return json.loads(path.read_text()) if path.exists() else {"done": 0}

    def open(self, mode):
        made = {}
        for name, (shape, kind) in self.shapes.items():
            path = self.folder / f"{name}.npy"
            if mode == "w":
                made[name] = np.lib.format.open_memmap(path, "w+", kind, shape)
            else:
                made[name] = np.load(path, mmap_mode=mode)
        return made

    def start(self, maker):
        """The arrays to fill and how far they are; refuses those of another VAE, and a full disk."""
        done = self.progress()
        if done["done"] and done.get("maker") != maker:
            raise BadState(
                f"{self.folder}: made by another VAE or recipe (expected {maker}, found "
                f"{done.get('maker')}). Delete this folder; it will be made anew."
            )
        if done["done"]:
            return self.open("r+"), done["done"]
        self.folder.mkdir(parents=True, exist_ok=True)
        free, need = shutil.disk_usage(self.folder).free, self.bytes()
        if need > free * 0.9:
            raise BadState(
                f"{self.folder}: the set '{self.name}' needs {need / 2**20:.0f} MiB, the disk has "
                f"{free / 2**20:.0f} MiB free. Give a state folder on a larger disk."
            )
        return self.open("w"), 0

    def fill(self, vae, vae_hash, tokenizer, stopping, say):
        """Draw and encode what is missing; True when everything is there."""
        maker = self.made_by(vae_hash)
        if self.progress().get("done") == self.count and self.progress().get("maker") == maker:
            return True
        arrays, at = self.start(maker)
        while at < self.count:
            if stopping():
                return False
            end = min(at + CHUNK, self.count)
            made = [drawn(self.recipe, self.name, i) for i in range(at, end)]
            self.put(arrays, at, made, vae, tokenizer)
            for array in arrays.values():
                array.flush()
            write(self.folder / "progress.json", json.dumps({"done": end, "maker": maker}))
            at = end
            say(f"set {self.name}: {at} of {self.count} pictures")
        return True

    def put(self, arrays, at, made, vae, tokenizer):
        end, ways = at + len(made), self.recipe["captions"]
        side = self.recipe["unet"]["sample_size"]
        latents = [encoded(vae, [m["image"] for m in made[i : i + 25]]) for i in range(0, len(made), 25)]
        arrays["latents"][at:end] = np.concatenate(latents)
        texts = [caption(m["attributes"], way) for m in made for way in range(ways)]
        arrays["tokens"][at:end] = encode(tokenizer, texts).reshape(len(made), ways, LENGTH)
        masks = np.stack([[m["face"], m["hand"]] for m in made]).astype(float)
        step = SIZE // side
        arrays["masks"][at:end] = masks.reshape(len(made), 2, side, step, side, step).mean((3, 5)).round()
        arrays["kinds"][at:end] = [m["attributes"]["kind"] for m in made]


@torch.no_grad()
def encoded(vae, images):
    """The means of the latents, not yet scaled."""
    return vae.encode(as_input(images)).latent_dist.mean.half().numpy()


def write(path, text):
    """Write a small file so that it is there whole or not at all."""
    scratch = Path(f"{path}.new")
    scratch.write_text(text)
    scratch.replace(path)


class Batches:
    """Batches of latents, tokens and noise out of one or several sets."""

    def __init__(self, folder, recipe, stage, shares, tokenizer, scale):
        """shares: set -> its part of each batch."""
        self.recipe, self.stage, self.shares, self.scale = recipe, stage, shares, scale
        self.arrays = {name: Cache(folder, recipe, name).open("r") for name in shares}
        self.none = encode(tokenizer, [NONE])[0]

    def rows(self, name, step, count):
        """The rows of the n-th batch: every epoch in an order of its own."""
        size = len(self.arrays[name]["kinds"])
        at, rows = step * count, []
        while len(rows) < count:
            epoch, start = divmod(at + len(rows), size)
            order = lots(self.recipe, "order", self.stage, name, epoch).permutation(size)
            rows.extend(order[start : start + count - len(rows)])
        return np.sort(np.asarray(rows))

    def batch(self, step):
        """Latents x0, noise, timesteps, tokens and masks of one step."""
        options = self.recipe["stages"][self.stage]
        rng = lots(self.recipe, "batch", self.stage, step)
        latents, tokens, masks = [], [], []
        left = options["batch"]
        for i, (name, share) in enumerate(self.shares.items()):
            last = i == len(self.shares) - 1
            count = left if last else round(share * options["batch"])
            left -= count
            rows, arrays = self.rows(name, step, count), self.arrays[name]
            latents.append(arrays["latents"][rows])
            tokens.append(arrays["tokens"][rows, rng.integers(self.recipe["captions"], size=count)])
            masks.append(arrays["masks"][rows])
        tokens = np.concatenate(tokens)
        tokens[rng.random(len(tokens)) < options["dropout"]] = self.none
        x0 = torch.from_numpy(np.concatenate(latents)).float() * self.scale
        g = noise(self.recipe, "noise", self.stage, step)
        return {
            "x0": x0,
            "noise": torch.randn(x0.shape, generator=g),
            "t": torch.randint(0, 1000, (len(x0),), generator=g),
            "tokens": torch.from_numpy(tokens.astype(np.int64)),
            "masks": torch.from_numpy(np.concatenate(masks)).float() / 255,
        }


