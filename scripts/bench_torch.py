#!/usr/bin/env python3
"""The components of Stable Diffusion v1.5 in PyTorch and in mole, in turns.

    scripts/bench_torch.py --mole build/cc/mole                        all components, a table
    scripts/bench_torch.py --mole build/cc/mole --only vae_decoder     this one anew
    scripts/bench_torch.py --only sdxl_unet_mole.b2 --width 1024 --height 1024 --rounds 2 --json xl.json
    scripts/bench_torch.py --serve unet --batch 2                      one PyTorch program by hand

For each component three programs are started: mole, PyTorch with the allocator of the C library as it
is (stock), and PyTorch with an allocator that keeps its memory (tuned: no page is returned to the
kernel, which would have to be faulted in again for every large activation). In each round each runs the
component once, the order being reversed from round to round, and the yardstick (a matrix product of
2048 x 2048 in mole) is taken before each of them. A round in which the yardstick was below 0.85 of the best
round's was disturbed and does not count. Ratios are taken per round; their median, least and greatest are
reported. Weights are random: nothing is downloaded.

XL's UNet with experts takes 16 GB in each program and is measured only where --only names it, one program after
the other.

PyTorch's UNet with experts is the authors' formulation: each of the 192 linear layers and 1x1 convolutions
in a transformer gives base(x) + sum_i D_i G_i E_i, in as many operations as stand there.

The results of each component go into the section `torch` of the JSON file as soon as they are there;
without --only, components that are there already (made with the same options) are left as they are.

--with openvino --with onnxruntime adds these, which run the same model converted, in float32, where their packages are
installed; the stock PyTorch is left out then. They cannot be held to AVX2, so not with --avx2.

--serve speaks the protocol of `mole bench --serve`: loads, prints "ready GFLOP WEIGHT_BYTES" (GFLOP is
0: not counted here), then for each line "go" runs once and prints "SECONDS FAULTS PEAK_RSS_BYTES".
"""

import argparse
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import bench_common as common
import bench_engines
from bench_engines import ENGINES

TUNED = {
    "MALLOC_MMAP_THRESHOLD_": "17179869184",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
}
# Key in the JSON: what --serve is asked for, and the batch. The last is measured only where it is named.
COMPONENTS = {
    "text_encoder": ("text_encoder", 2),
    "unet.b1": ("unet", 1),
    "unet.b2": ("unet", 2),
    "unet_mole.b2": ("unet_mole", 2),
    "vae_decoder": ("vae_decoder", 1),
    "sdxl_unet_mole.b2": ("sdxl_unet_mole", 2),
}
BY_NAME = "sdxl_unet_mole.b2"
# Of --avx2: the programs of a processor without AVX-512, on one that has it.
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
AVX2_MOLE = "{}/clones/avx2/mole"
RANK, SCALES = 256, (0.25, 0.5)  # face, hand: alpha / rank
CLIP = dict(
    vocab_size=49408,
    hidden_size=768,
    intermediate_size=3072,
    num_hidden_layers=12,
    num_attention_heads=12,
    max_position_embeddings=77,
    hidden_act="quick_gelu",
    layer_norm_eps=1e-5,
    projection_dim=768,
)
UNET = dict(
    sample_size=64,
    block_out_channels=(320, 640, 1280, 1280),
    down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    layers_per_block=2,
    cross_attention_dim=768,
    attention_head_dim=8,
)
VAE = dict(
    sample_size=512,
    block_out_channels=(128, 256, 512, 512),
    down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4,
    layers_per_block=2,
    latent_channels=4,
    scaling_factor=0.18215,
)

XL_CONFIG = Path(__file__).resolve().parents[1] / "golden/names/sdxl/unet/config.json"
# By the name of --serve: the configuration, and how many layers get experts.
UNETS = {"unet": (UNET, 0), "unet_mole": (UNET, 192), "sdxl_unet_mole": (None, 722)}


# ---- the PyTorch program ----------------------------------------------------------------------------


def wrapped(torch, base):
    """The layer with two experts and gates, as the authors write it."""
    nn = torch.nn
    conv = isinstance(base, nn.Conv2d)
    d_out, d_in = base.weight.shape[:2]

    def linear(n, m, bias):
        return nn.Conv2d(n, m, 1, bias=bias) if conv else nn.Linear(n, m, bias=bias)

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.base = base
            self.down = nn.ModuleList(linear(d_in, RANK, False) for _ in SCALES)
            self.up = nn.ModuleList(linear(RANK, d_out, False) for _ in SCALES)
            self.local_gate = nn.Linear(d_in, len(SCALES))
            self.global_gates = nn.ModuleList(nn.Linear(d_out, 1) for _ in SCALES)

        def forward(self, x):
            y = self.base(x)
            tokens = x.flatten(2).transpose(1, 2) if conv else x
            local = torch.sigmoid(self.local_gate(tokens))  # (B,T,experts)
            for i, scale in enumerate(SCALES):
                expert = self.up[i](self.down[i](x)) * scale
                e = expert.flatten(2).transpose(1, 2) if conv else expert
                whole = torch.sigmoid(self.global_gates[i](e.mean(dim=1, keepdim=True)))
                out = local[:, :, i : i + 1] * whole * e
                y = y + (out.transpose(1, 2).reshape(y.shape) if conv else out)
            return y

    return Layer()


def add_experts(torch, unet):
    """Wrap every Linear and 1x1 Conv2d inside a transformer; how many there were."""
    from diffusers.models.transformers.transformer_2d import Transformer2DModel

    nn, targets = torch.nn, []
    for name, holder in unet.named_modules():
        if isinstance(holder, Transformer2DModel):
            for path, module in holder.named_modules():
                point = isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)
                if point or isinstance(module, nn.Linear):
                    targets.append((f"{name}.{path}", module))
    for path, module in targets:
        parent, _, leaf = path.rpartition(".")
        setattr(unet.get_submodule(parent), leaf, wrapped(torch, module))
    return len(targets)


def materialise(torch, model):
    """Random weights of ordinary size in place of none. Norms are the identity."""
    model.to_empty(device="cpu")
    for module in model.modules():
        for name, p in module.named_parameters(recurse=False):
            if p.dim() > 1:
                bound = math.sqrt(3 / p[0].numel())
                p.data.uniform_(-bound, bound)
            else:
                p.data.fill_(1.0 if name == "weight" else 0.0)
        for name, buffer in module.named_buffers(recurse=False):
            if name != "position_ids":
                raise common.Failed(f"a buffer of unknown content: {name}")
            buffer.copy_(torch.arange(buffer.shape[-1]).expand_as(buffer))
    return model.eval().requires_grad_(False)


def component(torch, name, batch, width, height):
    """(model, a module around it that takes tensors and gives one, these tensors)."""
    torch.manual_seed(0)
    with torch.device("meta"):
        if name == "text_encoder":
            from transformers import CLIPTextConfig, CLIPTextModel

            model = CLIPTextModel(CLIPTextConfig(**CLIP))
        elif name in UNETS:
            from diffusers import UNet2DConditionModel

            config, layers = UNETS[name]
            config = config or common.json.loads(XL_CONFIG.read_text(encoding="utf-8"))
            model = UNet2DConditionModel.from_config(config)
            if layers and add_experts(torch, model) != layers:
                raise common.Failed(f"the UNet of this diffusers has not {layers} layers for experts")
        elif name == "vae_decoder":
            from diffusers import AutoencoderKL

            model = AutoencoderKL(**VAE)
            model.encoder = model.quant_conv = None
        else:
            raise common.Failed(f"no component {name}")
    materialise(torch, model)
    latents = torch.randn(batch, 4, height // 8, width // 8)
    ids = torch.randint(0, CLIP["vocab_size"], (batch, 77))

    class Whole(torch.nn.Module):
        def __init__(self, call):
            super().__init__()
            self.model, self.call = model, call

        def forward(self, *inputs):
            return self.call(*inputs)

    if name == "text_encoder":
        return model, Whole(lambda ids: model(input_ids=ids).last_hidden_state), (ids,)
    if name == "vae_decoder":
        return model, Whole(lambda latents: model.decode(latents).sample), (latents,)
    context = torch.randn(batch, 77, model.config.cross_attention_dim)
    added = None
    if model.config.addition_embed_type:
        sizes = torch.tensor([[height, width, 0, 0, height, width]] * batch, dtype=torch.float32)
        added = {"text_embeds": torch.randn(batch, 1280), "time_ids": sizes}
    whole = Whole(lambda latents, t, context: model(latents, t, context, added_cond_kwargs=added).sample)
    return model, whole, (latents, torch.tensor(500), context)


def convert(o):
    """The component as a converted model, with its inputs, in the folder o.convert."""
    import numpy as np
    import torch

    torch.set_num_threads(o.threads)
    with torch.inference_mode():
        model, whole, inputs = component(torch, o.serve, o.batch, o.width, o.height)
        ENGINES[o.engine][0](torch, whole, inputs, o.convert)
        np.savez(f"{o.convert}/inputs.npz", *[x.numpy() for x in inputs])
        print(sum(p.numel() * p.element_size() for p in model.parameters()))


def serve_torch(o):
    try:
        import diffusers  # noqa: F401 -- all three are needed
        import torch
        import transformers  # noqa: F401
    except ImportError as error:
        raise common.Failed(missing(error)) from None
    torch.set_num_threads(o.threads)
    torch.set_num_interop_threads(1)
    with torch.inference_mode():
        model, whole, inputs = component(torch, o.serve, o.batch, o.width, o.height)
        weights = sum(p.numel() * p.element_size() for p in model.parameters())
        common.answer(lambda: whole(*inputs), lambda result: torch.isfinite(result).all(), weights)


# ---- the driver -------------------------------------------------------------------------------------


def missing(error):
    return (
        f"{error}: PyTorch, diffusers and transformers are needed "
        "(pip install -r scripts/requirements.txt, or --python PROGRAM that has them)"
    )


ABOUT = """
import json, re, torch, diffusers, transformers
text = torch.__config__.show()
find = lambda pattern: (re.search(pattern, text) or [None, "?"])[1]
print(json.dumps(dict(torch=torch.__version__, diffusers=diffusers.__version__,
    transformers=transformers.__version__, blas=find(r"BLAS_INFO=(\\w+)"),
    onednn=find(r"MKL-DNN v([0-9.]+)"), vectors=find(r"CPU capability usage: (\\w+)"))))
"""


def about(python, **more):
    """Versions of what is compared with."""
    try:
        said = subprocess.run([python, "-c", ABOUT], capture_output=True, text=True, env=common.environment(**more))
    except OSError as error:
        raise common.Failed(missing(error)) from None
    if said.returncode:
        raise common.Failed(missing(said.stderr.strip().splitlines()[-1]))
    return common.json.loads(said.stdout)


def one_round(programs, yardstick, backwards):
    """What each did in a round, and the yardstick."""
    rows, marks = {}, []
    for name in reversed(programs) if backwards else programs:
        before = [yardstick.ask("yardstick")[0] for _ in range(2)]
        marks += before
        rows[name] = {**programs[name].go(), "yardstick_gflops": max(before)}
    return {"programs": rows, "yardstick_gflops": common.statistics.median(marks)}


def command_lines(o, key):
    """(name, arguments) of mole, and PyTorch's command."""
    name, batch = COMPONENTS[key]
    size = ["--width", str(o.width), "--height", str(o.height), "--batch", str(batch)]
    both = [*size, "--threads", str(o.threads)]
    ours = [*both, "--model", "synth:sdxl" if key == BY_NAME else o.model]
    if name.endswith("unet_mole"):
        ours += ["--face", common.EXPERTS["face"], "--hand", common.EXPERTS["hand"]]
        ours += ["--gates", "synth:"]
    return (name.removeprefix("sdxl_"), *ours), [o.python, __file__, "--serve", name, *both]


def forced(o):
    """Environment of PyTorch that keeps it from wider vectors than AVX2."""
    return AVX2 if o.avx2 else {}


def serve_mole(o, *words):
    """mole; held to AVX2, that of `make clones`, with OpenBLAS's kernels for it."""
    mole, more = (o.mole, {}) if not o.avx2 else (AVX2_MOLE.format(Path(o.mole).parent), {"OPENBLAS_CORETYPE": "Haswell"})
    return common.serve(mole, *words, **more)


def idle_rate(yardstick):
    """The machine's rate before anything is measured."""
    return max(yardstick.ask("yardstick")[0] for _ in range(3))


def measure_apart(o, key):
    """One program after the other, each o.rounds times, where memory does not hold two of them."""
    ours, theirs = command_lines(o, key)
    starts = {
        "mole": lambda: serve_mole(o, *ours),
        "tuned": lambda: common.Child("PyTorch, tuned", theirs, **TUNED, **forced(o)),
    }
    yardstick = serve_mole(o, "yardstick", "--threads", str(o.threads))
    rows, weights, gflop, idle = {}, {}, 0, idle_rate(yardstick)
    try:
        for program, start in starts.items():
            child = start()
            try:
                child.go()
                rows[program] = []
                for _ in range(o.rounds):
                    mark = max(yardstick.ask("yardstick")[0] for _ in range(2))
                    rows[program].append({**child.go(), "yardstick_gflops": mark})
                    common.say(f"  {key}: {program} {rows[program][-1]['seconds']:.1f} s  yardstick {mark:.0f}")
                gflop = max(gflop, float(child.ready.split()[0]))
                weights["mole" if program == "mole" else "torch"] = int(child.ready.split()[1])
            finally:
                child.close()
    finally:
        yardstick.close()
    rounds = [
        {"programs": {p: r[i] for p, r in rows.items()}, "yardstick_gflops": rows["mole"][i]["yardstick_gflops"]}
        for i in range(o.rounds)
    ]
    result = {"component": COMPONENTS[key][0], "batch": COMPONENTS[key][1], "gflop": gflop, "weights_bytes": weights}
    notes = ["one program after the other: memory does not hold both"]
    return {**result, "notes": notes, "rounds": rounds, **figures(rounds, gflop, idle)}


def measure(o, key):
    """All programs of a component in turns."""
    name, batch = COMPONENTS[key]
    ours, theirs = command_lines(o, key)
    programs, notes = {}, []
    yardstick = serve_mole(o, "yardstick", "--threads", str(o.threads))
    idle = idle_rate(yardstick)
    try:
        for engine in o.engines:
            programs[engine] = common.Child(engine, [*theirs, "--engine", engine], **forced(o))
            programs[engine].go()
        programs["mole"] = serve_mole(o, *ours)
        programs["mole"].go()
        programs["tuned"] = common.Child("PyTorch, tuned", theirs, **TUNED, **forced(o))
        peak = programs["tuned"].go()["peak_rss_bytes"]
        if o.engines:
            notes.append("stock allocator: left out")
        elif common.free_bytes() > 1.15 * peak:
            programs["stock"] = common.Child("PyTorch, stock", theirs, **forced(o))
            programs["stock"].go()
        else:
            notes.append("stock allocator: left out, no memory for a third program")
            common.say(f"  {notes[-1]}")
        rounds = []
        while len(rounds) < 2 * o.rounds:
            rounds.append(one_round(programs, yardstick, len(rounds) % 2))
            seconds = "  ".join(
                f"{p} {r['seconds']:.3f} s" for p, r in rounds[-1]["programs"].items()
            )
            mark = rounds[-1]["yardstick_gflops"]
            common.say(f"  {key} round {len(rounds)}: {seconds}  yardstick {mark:.0f} GFLOP/s")
            if len(common.counted(rounds, idle)) >= o.rounds:
                break
        weights = {
            "mole": programs["mole"].weights,
            "torch": int(programs["tuned"].ready.split()[1]),
        }
        gflop = programs["mole"].gflop
    finally:
        for child in [yardstick, *programs.values()]:
            child.close()
    result = {"component": name, "batch": batch, "gflop": gflop, "weights_bytes": weights}
    return {**result, "notes": notes, "rounds": rounds, **figures(rounds, gflop, idle)}


def figures(rounds, gflop, idle=0):
    """What the rounds say; it can be worked out again from them."""
    good = [rounds[i] for i in common.counted(rounds, idle)]
    if not good:
        raise common.Failed("no round was quiet: others had the processors, or they were slowed down; try again")
    seconds, ratios = {}, {}
    for program in good[0]["programs"]:
        times = [r["programs"][program]["seconds"] for r in good]
        seconds[program] = common.summary(times)
        if program != "mole":
            mole = [r["programs"]["mole"]["seconds"] for r in good]
            ratios[program] = common.summary([a / b for a, b in zip(mole, times)])
    ours = [r["programs"]["mole"] for r in good]
    everyone = [r["programs"] for r in rounds]
    return {
        "counted": len(good),
        "seconds": seconds,
        "ratio": ratios,
        "share": common.summary([gflop / r["seconds"] / r["yardstick_gflops"] for r in ours]),
        "faults": {
            p: common.summary([r[p]["faults"] for r in everyone])["max"] for p in everyone[0]
        },
        "peak_rss_bytes": {p: max(r[p]["peak_rss_bytes"] for r in everyone) for p in everyone[0]},
    }


def compare(o):
    versions = about(o.python, **forced(o))
    section = common.load(o.json).get("torch", {})
    settings = {"width": o.width, "height": o.height, "threads": o.threads, "model": o.model}
    settings |= {"avx2": True} if o.avx2 else {}
    kept = section.get("components", {}) if section.get("settings") == settings else {}
    results = {k: v for k, v in kept.items() if k not in o.only}
    start = time.time()
    for key in o.only or (key for key in COMPONENTS if key != BY_NAME):
        if key in results and results[key]["counted"] >= o.rounds and not o.again:
            common.say(f"{key}: there already (--only {key} measures it anew)")
            continue
        common.say(f"{key}: loading")
        results[key] = (measure_apart if key == BY_NAME else measure)(o, key)
        ordered = {k: results[k] for k in COMPONENTS if k in results}
        section = {"versions": versions, "settings": settings, "components": ordered}
        common.store(o.json, "torch", section)
    common.say(f"{time.time() - start:.0f} s")
    table(results)


def table(results):
    """Medians of seconds; median, least and greatest ratio of a round."""
    head = "rounds   mole s    tuned    stock  mole/tuned (from to)    mole/stock (from to)"
    print(f"{'component':17} {head}")
    for key, r in results.items():
        line = f"{key:17} {r['counted']:6}"
        for program in ("mole", "tuned", "stock"):
            found = r["seconds"].get(program)
            line += f" {found['median']:8.3f}" if found else f" {'-':>8}"
        for program in ("tuned", "stock"):
            x = r["ratio"].get(program)
            line += f"  {x['median']:.3f} ({x['min']:.3f} {x['max']:.3f})    " if x else "  -"
        for engine in ENGINES:
            if x := r["ratio"].get(engine):
                line += f"  over {engine} {x['median']:.3f} ({x['min']:.3f} {x['max']:.3f})"
        print(line.rstrip())


def options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--mole", default="build/cc/mole", help="our program (build/cc/mole)")
    add("--model", default="synth:sd15", help="its model (synth:sd15)")
    add(
        "--python",
        default=sys.executable,
        help="a Python with torch, diffusers, transformers (this one)",
    )
    add("--json", default="docs/performance.json", help="where results go (docs/performance.json)")
    add("--only", action="append", default=[], choices=list(COMPONENTS), help="this one, anew")
    add("--avx2", action="store_true", help="both held to AVX2, as on a processor without AVX-512 (make clones)")
    add("--again", action="store_true", help="all of them anew")
    add(
        "--rounds",
        type=int,
        default=5,
        help="that have to count; at most twice as many are made (5)",
    )
    add("--threads", type=int, default=min(2, os.cpu_count() or 1), help="(2)")
    add("--width", type=int, default=512, help="pixels (512)")
    add("--height", type=int, default=512, help="pixels (512)")
    add("--engine", choices=list(ENGINES), help="of --serve: this program runs the converted model")
    add("--convert", metavar="FOLDER", help="of --engine: leave the converted model here, no more")
    add("--with", dest="engines", action="append", default=[], choices=list(ENGINES), help="beside PyTorch, in its turn")
    add("--serve", metavar="COMPONENT", help="be the PyTorch program")
    add("--batch", type=int, default=2, help="of --serve (2)")
    return parser.parse_args()


def main():
    o = options()
    try:
        if o.convert:
            convert(o)
        elif o.serve:
            (bench_engines.serve if o.engine else serve_torch)(o)
        else:
            if o.avx2 and o.engines:
                common.say("bench_torch.py: --with: these use AVX-512 where it is, whatever --avx2 says")
                return 2
            if o.rounds < 1:
                common.say("bench_torch.py: --rounds must be at least 1")
                return 2
            compare(o)
    except (common.Failed, OSError) as error:
        common.say(f"bench_torch.py: {error}")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
