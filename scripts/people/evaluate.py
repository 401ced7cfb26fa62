"""How well a trained model draws people: attributes and fingers, denoising error in masks, gates.

    evaluate.py --state DIR [--variants NAME ...] [--prompts 64] [--seeds 4] [--json FILE] [--bfloat16]

Variants, as far as their stages are done: base; face, hand (the base with one expert); both (both, without gates);
mole; local, global (MoLE with one of the two gates, the other held open); control (the base for as many further
steps); rank-4, rank-64. The tables are written as Markdown, the numbers as JSON.
"""

import argparse
import json
import os
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.append(str(Path(__file__).resolve().parents[1]))  # the package golden

import experts  # noqa: E402
import networks  # noqa: E402
import numpy as np  # noqa: E402
import reader as readers  # noqa: E402
import torch  # noqa: E402
from attributes import sample  # noqa: E402
from captions import caption, describe  # noqa: E402
from data import SEEDS, SIZE, BadState, as_input, drawn, encoded, lots, noise  # noqa: E402
from draw import save_png, tile  # noqa: E402
from golden.mole import EXPERTS, wrap  # noqa: E402
from loop import State  # noqa: E402
from recipe import FULL, smoke  # noqa: E402
from sampling import context, decode, generate  # noqa: E402
from stages import expert_files, gate_tensors, trained_base, trained_control  # noqa: E402
from train import common_of, scale_of  # noqa: E402
from words import encode  # noqa: E402

VARIANTS = ("base", "face", "hand", "both", "mole", "local", "global", "control", "rank-4", "rank-64")
GATES = {"mole": "gates", "local": "gates-local", "global": "gates-global", "rank-4": "gates-4", "rank-64": "gates-64"}
TIMES = (100, 300, 500, 700, 900)
PROMPT_KINDS = {"half": 0.6, "portrait": 0.2, "face": 0.1, "hand": 0.1}


# ---- the models that are compared -------------------------------------------------------------------

def open_gates(unet):
    """Gates that let everything through."""
    gates = experts.fresh_gates(unet, 0)
    for only in ("local", "global"):
        experts.hold_open(gates, only)
    return gates


def variant(state, common, name):
    """(UNet, text encoder) of a variant; BadState where its stages are not done."""
    if name == "control":
        return trained_control(state, common)
    unet, text = trained_base(state, common)
    if name == "base":
        return unet, text
    files = expert_files(state, GATES.get(name, "gates"))
    if name in EXPERTS:
        for other in EXPERTS:
            if other != name:
                files[other] = {k: v if k.endswith(".alpha") else torch.zeros_like(v) for k, v in files[other].items()}
    files["gates"] = gate_tensors(state, unet, GATES[name]) if name in GATES else open_gates(unet)
    wrap(unet, files)
    return unet, text


# ---- (a) does the picture obey the prompt -----------------------------------------------------------

def prompts_of(recipe, count):
    """(attributes, prompt) that nothing was trained on."""
    rng, made = lots(recipe, "prompts"), []
    for index in range(count):
        kinds = list(PROMPT_KINDS)
        kind = kinds[int(rng.choice(len(kinds), p=list(PROMPT_KINDS.values())))]
        attributes = sample(SEEDS["held"] + 1, kind, index)
        made.append((attributes, caption(attributes)))
    return made


def two_prompts(recipe, count):
    """The same for two people: (attributes, prompt, what is said of each)."""
    made = []
    for index in range(count):
        rng = lots(recipe, "two prompts", index)
        attributes = sample(SEEDS["held"] + 1, "two", index)
        parts = [describe(p, rng, 0.75) for p in attributes["people"]]
        made.append((attributes, f"{parts[0]} and {parts[1]}", parts))
    return made


def pictures(state, common, parts, prompts, seeds):
    """Drawn pictures, prompt by prompt, `seeds` of each."""
    unet, text = parts
    scheduler = networks.make_scheduler(state.recipe)
    texts = [p for p in prompts for _ in range(seeds)]
    numbers = [1000 * i + s for i in range(len(prompts)) for s in range(seeds)]
    made = []
    for at in range(0, len(texts), 16):
        latents = generate(state.recipe, scheduler, unet, text, common.tokenizer, texts[at : at + 16],
                           numbers[at : at + 16])
        made.extend(decode(common.vae, latents, common.scale))
    return made


def wanted(attributes, text):
    """head -> value, and "gestures", of what a prompt asks for."""
    made = readers.stated(attributes, text)
    gestures = readers.gestures_stated(attributes, text)
    return {**made, "gestures": gestures} if gestures else made


def obedience(reader, made, prompts, seeds):
    """head -> (right, asked) of drawn pictures."""
    return readers.accuracy(reader, made, [wanted(*p) for p in prompts for _ in range(seeds)])


def obedience_of_two(reader, made, prompts, seeds):
    """The same for two people, each read in its half of the picture."""
    images, truths = [], []
    for i, (attributes, _, parts) in enumerate(prompts):
        for seed in range(seeds):
            for who in (0, 1):
                images.append(readers.person_of_two(made[i * seeds + seed], who))
                truths.append({k: v for k, v in readers.stated(attributes, parts[who], who).items() if k != "kind"})
    return readers.accuracy(reader, images, truths)


def total(pairs, without=("gestures", "fingers")):
    """Right and asked over all heads but those."""
    kept = [pair for name, pair in pairs.items() if name not in without]
    return sum(p[0] for p in kept), sum(p[1] for p in kept)


# ---- (b) the error of denoising, inside the masks ---------------------------------------------------

def held(state, common, count):
    """Latents, masks and prompts of held-out pictures."""
    made = [drawn(state.recipe, "held", i) for i in range(count)]
    latents = torch.from_numpy(np.stack(encoded(common.vae, [m["image"] for m in made]))).float() * common.scale
    side = state.recipe["unet"]["sample_size"]
    masks = np.stack([[m["face"], m["hand"]] for m in made]).astype(np.float32) / 255
    masks = masks.reshape(count, 2, side, SIZE // side, side, SIZE // side).mean((3, 5))
    return latents, torch.from_numpy(masks), [caption(m["attributes"]) for m in made]


@torch.no_grad()
def denoising(state, common, parts, pictures_held):
    """{"face", "hand", "elsewhere"}: mean squared error of the velocity there, over times and pictures."""
    (unet, text), (x0, masks, texts) = parts, pictures_held
    acp = networks.make_scheduler(state.recipe).alphas_cumprod
    rows = context(text, torch.from_numpy(encode(common.tokenizer, texts).astype(np.int64)))
    weights = {"face": masks[:, :1], "hand": masks[:, 1:], "elsewhere": (1 - masks.sum(1, keepdim=True)).clamp(0)}
    sums = {name: 0.0 for name in weights}
    for t in TIMES:
        e = torch.randn(x0.shape, generator=noise(state.recipe, "evaluate", t))
        a, s = acp[t].sqrt(), (1 - acp[t]).sqrt()
        for at in range(0, len(x0), 32):
            part = slice(at, at + 32)
            out = unet(a * x0[part] + s * e[part], torch.full((len(x0[part]),), t), rows[part]).sample
            error = (out - (a * e[part] - s * x0[part])).pow(2).mean(1, keepdim=True)
            for name, weight in weights.items():
                sums[name] += float((weight[part] * error).sum())
    return {name: value / float(weights[name].sum()) / len(TIMES) for name, value in sums.items()}


# ---- (c) the gates ----------------------------------------------------------------------------------

class Probe:
    """Collects the gates of one layer."""

    def __init__(self, seen):
        self.seen = seen

    def __call__(self, name, value):
        parts = name.split(".")
        if parts[-1] in ("local", "global"):
            self.seen.setdefault((parts[1], parts[-1]), []).append(value.detach())
        return value


@torch.no_grad()
def gates_of(state, common, parts, pictures_held):
    """Means of global gates by kind of picture, of local gates inside and outside of the masks."""
    (unet, text), (x0, masks, texts) = parts, pictures_held
    kinds = np.array([drawn(state.recipe, "held", i)["attributes"]["kind"] for i in range(len(x0))])
    rows = context(text, torch.from_numpy(encode(common.tokenizer, texts).astype(np.int64)))
    acp = networks.make_scheduler(state.recipe).alphas_cumprod
    seen = {}
    for module in unet.modules():
        if hasattr(module, "probe"):
            module.probe = Probe(seen)
    made, side = {}, x0.shape[-1]
    for t in TIMES:
        seen.clear()
        e = torch.randn(x0.shape, generator=noise(state.recipe, "evaluate", t))
        unet(acp[t].sqrt() * x0 + (1 - acp[t]).sqrt() * e, torch.full((len(x0),), t), rows)
        for i, expert in enumerate(EXPERTS):
            mean = torch.stack(seen[expert, "global"]).mean(0).numpy()
            for kind in sorted(set(kinds)):
                made.setdefault(f"{expert} global, {kind}", []).append(float(mean[kinds == kind].mean()))
            full = [g.view(len(x0), side, side) for g in seen[expert, "local"] if g.shape[1] == side * side]
            local, mask = torch.stack(full).mean(0), masks[:, i]
            for where, weight in (("inside", mask), ("outside", 1 - mask)):
                value = float((local * weight).sum() / weight.sum())
                made.setdefault(f"{expert} local, {where} of the {expert}", []).append(value)
    return made


# ---- all of it --------------------------------------------------------------------------------------

def evaluate(state, common, names, options, reader):
    """{variant: figures}."""
    prompts, two = prompts_of(state.recipe, options.prompts), two_prompts(state.recipe, options.two)
    pictures_held = held(state, common, options.held)
    folder = state.folder / "evaluation"
    folder.mkdir(exist_ok=True)
    results = {}
    for name in names:
        try:
            parts = variant(state, common, name)
        except BadState as error:
            state.say(f"evaluation: no '{name}': {error}")
            continue
        figures = {"error": denoising(state, common, parts, pictures_held)}
        if name in GATES:
            figures["gates"] = gates_of(state, common, parts, pictures_held)
        made = pictures(state, common, parts, [text for _, text in prompts], options.seeds)
        figures["prompts"] = obedience(reader, made, prompts, options.seeds)
        save_png(folder / f"{name}.png", tile(made[:: options.seeds], 8))
        made = pictures(state, common, parts, [p[1] for p in two], options.seeds)
        figures["two people"] = obedience_of_two(reader, made, two, options.seeds)
        save_png(folder / f"{name}-two.png", tile(made[:: options.seeds], 8))
        results[name] = figures
        state.say(f"evaluation of '{name}': {json.dumps(figures)}")
    return results


def percent(pair):
    return f"{100 * pair[0] / pair[1]:.1f}" if pair[1] else "-"


def tables(results):
    """Markdown."""
    lines = ["| model | attributes, % | gestures, % | fingers, % | two people, attributes, % |"
             " error in faces | in hands | elsewhere |", "|---|---|---|---|---|---|---|---|"]
    for name, f in results.items():
        said = f["prompts"]
        nothing = (0, 0)
        lines.append(f"| {name} | {percent(total(said))} | {percent(said.get('gestures', nothing))} | "
                     f"{percent(said.get('fingers', nothing))} | {percent(total(f['two people']))} | "
                     + " | ".join(f"{f['error'][where]:.4f}" for where in ("face", "hand", "elsewhere")) + " |")
    heads = [head for head in readers.HEADS if any(head in f["prompts"] for f in results.values())]
    lines += ["", "| attribute, % (asked) | " + " | ".join(results) + " |", "|---" * (1 + len(results)) + "|"]
    for head in heads:
        cells = [f["prompts"].get(head, (0, 0)) for f in results.values()]
        lines.append(f"| {head} ({cells[0][1]}) | " + " | ".join(map(percent, cells)) + " |")
    for name, f in results.items():
        if "gates" in f:
            times = " | ".join(f"t = {t}" for t in TIMES)
            lines += ["", f"| gates of {name} | {times} |", "|---" * (1 + len(TIMES)) + "|"]
            lines += [f"| {what} | " + " | ".join(f"{v:.3f}" for v in values) + " |"
                      for what, values in f["gates"].items()]
    return "\n".join(lines) + "\n"


def roundtrip(common, images):
    """Pictures after the model's VAE."""
    with torch.no_grad():
        z = torch.cat([common.vae.encode(as_input(images[i : i + 16])).latent_dist.mean
                       for i in range(0, len(images), 16)])
        return list(decode(common.vae, z * common.scale, common.scale))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--state", required=True, type=Path)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS, metavar="NAME")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--two", type=int, default=16, help="prompts of two people")
    parser.add_argument("--seeds", type=int, default=4, help="pictures of each prompt")
    parser.add_argument("--held", type=int, default=320, help="held-out drawings")
    parser.add_argument("--reader-steps", type=int, default=3000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--bfloat16", action="store_true", help="train the reader in bfloat16")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 0)) or os.cpu_count())
    try:
        state = State(options.state, smoke() if options.smoke else FULL, options.bfloat16)
        common = common_of(state)
        common.scale = scale_of(state, common)
        reader = readers.train(state, options.reader_steps)
        images, truths = readers.drawings(state.recipe, options.held)
        read = {"drawings": readers.accuracy(reader, images, truths),
                "after the VAE": readers.accuracy(reader, roundtrip(common, images), truths)}
        results = evaluate(state, common, options.variants, options, reader)
    except BadState as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return 3
    print(f"The reader is right for {percent(total(read['drawings']))} % of the attributes of {options.held} drawings "
          f"that it never saw, for {percent(read['drawings']['fingers'])} % of the fingers; after the VAE "
          f"{percent(total(read['after the VAE']))} % and {percent(read['after the VAE']['fingers'])} %.\n")
    print(tables(results), end="")
    if options.json:
        options.json.write_text(json.dumps({"reader": read, "variants": results}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
