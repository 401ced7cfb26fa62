"""The plain versions of the course, held against the reference in float64.

    scripts/with_numpy.sh docs/course/code/check.py                                all of them
    scripts/with_numpy.sh docs/course/code/check.py NAME [--change OLD NEW]...     one, with a change to its file

Says how far the two are apart, as a share of the largest number. Without a change, status 1 where that is more
than rounding, or where a function is longer than 15 lines.
"""

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..", "..")
sys.path[:0] = [HERE, os.path.join(ROOT, "scripts", "mole_ref"), os.path.join(ROOT, "tests", "port")]
import mole_ref  # noqa: E402
import safetensors_np  # noqa: E402

MODEL = os.path.join(ROOT, "golden", "models", "sd15-tiny")
LONGEST = 15
EQUAL = 1e-12  # float64, sums in another order


def case_noise(f, ref, rng):
    plan = ref.ddim(1)  # one step, from timestep 1 to the picture
    alphas = plan.alphas_cumprod.astype(np.float64)
    x, noise = rng.normal(size=(2, 100))
    yield f["alphas_cumprod"]().astype(np.float32), alphas, 1e-6  # torch's table is float32
    yield f["foreseen"](x, noise, alphas[1]), plan.step(0, noise, x)
    yield f["foreseen"](f["add_noise"](x, noise, alphas[500]), noise, alphas[500]), x


def case_upsample(f, ref, rng):
    x = rng.normal(size=(2, 3, 4, 5))
    yield f["upsample_nearest"](x, 8, 10), ref.upsample_nearest(x, (8, 10))
    yield f["upsample_nearest"](x, 7, 9), ref.upsample_nearest(x, (7, 9))
    yield f["to_bytes"](np.array([-2, -1, 0, 0.5, 1, 2.0])), np.array([0, 0, 128, 191, 255, 255])


def case_silu(f, ref, rng):
    x = 3 * rng.normal(size=1000)
    yield f["silu"](x), ref.silu(x)


def case_group_norm(f, ref, rng):
    x = 0.02 * rng.normal(size=(2, 8, 5, 4)) + rng.normal(size=(1, 8, 1, 1))
    weight, bias = rng.normal(size=(2, 8))
    for groups in (1, 2, 8):
        yield f["group_norm"](x, weight, bias, groups, 1e-5), ref.group_norm(x, weight, bias, groups, 1e-5)


def case_conv2d(f, ref, rng):
    x, weight, bias = rng.normal(size=(2, 3, 5, 4)), rng.normal(size=(6, 3, 3, 3)), rng.normal(size=6)
    yield f["conv2d"](x, weight, bias), ref.conv2d(x, weight, bias, padding=1)


def case_resnet(f, ref, rng):
    """Against the golden tap, which PyTorch made."""
    file, path = os.path.join(MODEL, "unet", "diffusion_pytorch_model.safetensors"), "down_blocks.0.resnets.0."
    weights = safetensors_np.read(file)[0]
    w = {n[len(path):]: x.astype(np.float64) for n, x in weights.items() if n.startswith(path)}
    taps = safetensors_np.read(os.path.join(ROOT, "golden", "runs", "unet-step", "tensors.safetensors"))[0]
    x, temb = taps["unet.conv_in"], taps["unet.time_embedding.linear_2"]
    with open(os.path.join(MODEL, "unet", "config.json"), encoding="utf-8") as config:
        groups = json.load(config)["norm_num_groups"]
    yield f["resnet"](x, temb, w, groups, 1e-5), taps["unet." + path[:-1]]


def case_attention(f, ref, rng):
    q, k, v = (rng.normal(size=(2, n, 12)) for n in (7, 5, 5))
    for heads in (1, 3):
        yield f["attention"](q, k, v, heads), ref.attention(q, k, v, heads)


def case_bpe(f, ref, rng):
    tokenizer = ref.tokenizer(os.path.join(MODEL, "tokenizer"))
    with open(os.path.join(MODEL, "tokenizer", "merges.txt"), encoding="utf-8") as file:
        lines = file.read().split("\n")[1:]
    rank = {tuple(line.split()): i for i, line in enumerate(lines) if line}
    words = "a woman waving her hand portrait of smiling soft light fingers zebra xylophone".split()
    mine = [[p for w in words for p in f["bpe"](w, rank)]]
    theirs = [[tokenizer.piece(i) for w in words for i in tokenizer.encode(w)]]
    yield np.array(float(mine != theirs)), np.array(0.0)


def case_timestep(f, ref, rng):
    for t in (1, 501, 981):
        yield f["timestep_embedding"](t, 16), ref.timestep_embedding([t], 16, True, 0)[0]


def case_unet_shapes(f, ref, rng):
    """Against the shapes of the taps of a pass of the reference, and the widths that its up path gets."""
    model, taps = ref.model(MODEL), {}
    with open(os.path.join(MODEL, "unet", "config.json"), encoding="utf-8") as config:
        widths = json.load(config)["block_out_channels"]
    model.unet(np.zeros((1, 4, 10, 10)), 1, np.zeros((1, 77, model.info.context_width)), taps, inputs=True)
    wrong = 0
    for name, channels, size in f["unet_shapes"](widths, 10):
        shape = taps[f"unet.{name}"].shape
        wrong += shape[1] != channels
        if isinstance(size, int):
            wrong += shape[2] != size
        else:
            joined = taps[f"unet.{name}.norm1.in"].shape[1]
            wrong += sum(int(n) for n in size.split()[1::2]) != joined
    yield np.array(float(wrong)), np.array(0.0)


def case_ddim(f, ref, rng):
    plan = ref.ddim(4)
    a, b = (plan.alphas_cumprod[t].astype(np.float64) for t in plan.timesteps[1:3])
    x, noise = rng.normal(size=(2, 100))
    yield f["ddim_step"](x, noise, a, b), plan.step(1, noise, x)
    yield f["guided"](x, noise, 7.5), ref.guidance(x, noise, 7.5)


def case_mole_layer(f, ref, rng):
    x, weight, bias = rng.normal(size=(2, 5, 8)), rng.normal(size=(4, 8)), rng.normal(size=4)
    phi = rng.normal(size=(2, 8)), rng.normal(size=2)
    experts = [{"down": rng.normal(size=(r, 8)), "up": rng.normal(size=(4, r)), "alpha": a,
                "w": rng.normal(size=4), "c": rng.normal()} for r, a in ((2, 1.0), (3, 2.0))]
    theirs = {name: {"alpha": e["alpha"], "lora_down": e["down"], "lora_up": e["up"],
                     "scale_weight": e["w"], "scale_bias": e["c"]} for name, e in zip(("face", "hand"), experts)}
    yield f["mole_layer"](x, weight, bias, experts, *phi), ref.mole_layer(x, weight, bias, theirs, *phi)


def case_distance(f, ref, rng):
    """Against what `mole compare` writes of two traces."""
    truth = rng.normal(size=(3, 40))
    port = truth + 1e-3 * rng.normal(size=truth.shape)
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("truth.safetensors", "port.safetensors", "report.json")]
        for path, x in zip(paths, (truth, port)):
            safetensors_np.write(path, {"x": x}, {})
        subprocess.run(["mole", "compare", *paths[:2], "--json", paths[2]], stdout=subprocess.DEVNULL, check=False)
        with open(paths[2], encoding="utf-8") as file:
            theirs = json.load(file)["rows"][0]["cumulative"]
    mine = f["distance"](port, truth)
    for name, theirs_name in (("max abs", "max_abs"), ("rel rms", "relative_rms"), ("cosine", "cosine")):
        yield np.array(mine[name]), np.array(theirs[theirs_name])
    yield f["in_order"](truth.ravel(), np.float64), np.array(sum(truth.ravel().tolist()))


def case_whole(f, ref, rng):
    """Against the picture of a run of the program, as its trace has it."""
    with tempfile.TemporaryDirectory() as folder:
        trace = os.path.join(folder, "run.safetensors")
        run = ["mole", "generate", "--model", MODEL, "--prompt", "a hand", "--seed", "3", "--steps", "2", "-q"]
        run += ["--width", "64", "--height", "64", "--precision", "f64", "--trace", trace, "-o", f"{folder}/run.png"]
        subprocess.run(run, stdout=subprocess.DEVNULL, check=True)
        theirs = safetensors_np.read(trace)[0]["image"]
    yield f["picture"](ref, MODEL, "a hand", 3, 2, 7.5, 8), theirs


def case_velocity(f, ref, rng):
    plan = ref.ddim(4, prediction_type="v_prediction")
    a, b = (plan.alphas_cumprod[t].astype(np.float64) for t in plan.timesteps[1:3])
    x, v = rng.normal(size=(2, 100))
    yield f["velocity_step"](x, v, a, b), plan.step(1, v, x)


def case_winograd(f, ref, rng):
    d, g = rng.normal(size=4), rng.normal(size=3)
    theirs = ref.conv2d(d.reshape(1, 1, 1, 4), g.reshape(1, 1, 1, 3)).ravel()
    yield np.array(f["plain_two"](d, g)), theirs
    yield np.array(f["winograd_two"](d, g)), theirs


def far(mine, theirs):
    """The largest difference as a share of the largest number; of zeros, the difference itself."""
    if mine.shape != theirs.shape:
        return np.inf
    return float(np.abs(mine - theirs).max() / (np.abs(theirs).max() or 1))


def functions(name, changes):
    """The functions of NAME.py after the changes, by name."""
    path = os.path.join(HERE, f"{name}.py")
    with open(path, encoding="utf-8") as file:
        source = file.read()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno + 1 > LONGEST:
            sys.exit(f"check.py: {node.name} of {name}.py has more than {LONGEST} lines")
    for old, new in changes:
        if old not in source:
            sys.exit(f"check.py: no {old!r} in {name}.py")
        source = source.replace(old, new)
    found = {}
    exec(compile(source, path, "exec"), found)
    return found


def check(name, changes, ref):
    """-> how far, and whether that is rounding"""
    found, worst, equal = functions(name, changes), 0.0, True
    try:
        for mine, theirs, *limit in globals()[f"case_{name}"](found, ref, np.random.default_rng(0)):
            error = far(np.asarray(mine, np.float64), np.asarray(theirs, np.float64))
            equal = equal and error <= (limit[0] if limit else EQUAL)
            worst = max(worst, error)
    except ValueError as error:
        return str(error), False
    return worst, equal


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("name", nargs="?")
    p.add_argument("--change", nargs=2, metavar=("OLD", "NEW"), action="append", default=[])
    a = p.parse_args()
    names = [a.name] if a.name else [n[len("case_"):] for n in globals() if n.startswith("case_")]
    ref, status = mole_ref.load("f64"), 0
    for name in names:
        worst, equal = check(name, a.change, ref)
        if equal:
            print(f"{name}: equals the reference")
        elif isinstance(worst, str):
            print(f"{name}: does not run: {worst}")
        else:
            print(f"{name}: differs by {worst:.1e} of the largest number")
        status = status or (not equal and not a.change)
    return status


if __name__ == "__main__":
    sys.exit(main())
