"""A port of MoLE on Stable Diffusion v1.5, v2.1 and XL to NumPy, to practise on.

    python3 tests/port/port.py --case golden/runs/unet-step --dtype f32 --dump OUT
    python3 tests/port/port.py --case golden/runs/unet-step --mutant geglu-halves --dump BAD
    python3 tests/port/port.py --model golden/models/sd15-tiny --prompt "a hand" --dump OUT
    python3 tests/port/port.py --list-mutants [--json]

Written from the equations; shares no code with ref/ or scripts/. See README.md beside this file.
Status: 0 done, 2 usage, 3 bad or missing input.
"""

import argparse
import json
import sys
import time

import cases
import mutants
import nn
from pipeline import Pipeline
from safetensors_np import FileError
from trace import Trace

# What the authors' script amounts to; scheduler_config.json says otherwise about the last alpha.
SCHEDULER = {
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "prediction_type": "epsilon",
    "set_alpha_to_one": True,
    "clip_sample": False,
}


def whole(least, most):
    def convert(text):
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{value} is not in {least}..{most}")
        return value

    convert.__name__ = "whole number"
    return convert


def pixels(text):
    value = whole(8, 1 << 14)(text)
    if value % 8:
        raise argparse.ArgumentTypeError(f"{value} is not a multiple of 8")
    return value


def arguments(argv):
    first = __doc__.split("\n\n", 1)
    p = argparse.ArgumentParser(
        description=first[0], epilog=first[1], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument(
        "--case", metavar="DIR", help="a golden run: its inputs or settings, and its model"
    )
    p.add_argument("--model", metavar="DIR", help="a folder of diffusers (default: the case's)")
    for name in ("face", "hand", "gates"):
        p.add_argument(f"--{name}", metavar="FILE", help="all three or none (default: the case's)")
    p.add_argument("--dump", metavar="FILE", help="write the trace here")
    p.add_argument(
        "--inputs", action="store_true", help="dump the inputs of modules too, as NAME.in"
    )
    p.add_argument(
        "--taps", metavar="GLOB", action="append", help="dump these only (may be repeated)"
    )
    p.add_argument("--row", type=whole(0, 1 << 14), metavar="N", help="of a batch, dump this row alone")
    p.add_argument("--case-taps", action="store_true", help="dump only what the case holds")
    p.add_argument("--dtype", choices=cases.DTYPES, default="f32")
    p.add_argument("--order", choices=nn.ORDERS, default="blas", help="in which sums are added up")
    p.add_argument("--compute", choices=nn.COMPUTE, default="f32", help="of a float32 run")
    p.add_argument("--mutant", choices=mutants.BY_NAME, metavar="NAME", help="plant this bug")
    p.add_argument("--list-mutants", action="store_true")
    p.add_argument("--json", action="store_true", help="list them as JSON")
    p.add_argument("--prompt", help="without --case: make a picture from this")
    p.add_argument("--negative")
    p.add_argument("--seed", type=whole(0, (1 << 64) - 1), default=0)
    p.add_argument("--steps", type=whole(1, 1000), default=50)
    p.add_argument("--scale", type=float, default=7.5, help="guidance; at most 1: none")
    p.add_argument("--width", type=pixels, default=64)
    p.add_argument("--height", type=pixels, default=64)
    a = p.parse_args(argv)
    if a.list_mutants:
        return a
    if bool(a.case) == (a.prompt is not None):
        p.error("give --case or --prompt")
    if a.prompt is not None and not a.model:
        p.error("--prompt needs --model")
    if len({a.face is None, a.hand is None, a.gates is None}) == 2:
        p.error("--face, --hand and --gates go together")
    if a.compute != "f32" and a.dtype != "f32":
        p.error(f"--compute {a.compute} goes with --dtype f32")
    if a.case_taps and not a.case:
        p.error("--case-taps needs --case")
    return a


def list_mutants(as_json):
    if as_json:
        print(json.dumps(mutants.as_dict(), indent=1))
        return
    for m in mutants.MUTANTS:
        print(f"{m.name:28} {m.about}")


def run_case(a, experts):
    case = cases.Case(a.case)
    wanted = case.names() if a.case_taps else a.taps
    return cases.run(
        case, a.dtype, a.order, a.mutant, a.inputs, wanted, a.model, experts, None, a.compute
    )


def run_prompt(a, experts):
    settings = {
        "prompt": a.prompt,
        "negative_prompt": a.negative,
        "seed": a.seed,
        "num_inference_steps": a.steps,
        "guidance_scale": a.scale,
        "width": a.width,
        "height": a.height,
        "scheduler": SCHEDULER,
        "negative_rule": "zeros",  # what follows is of XL alone
        "original_size": [a.height, a.width],
        "crops_coords_top_left": [0, 0],
        "target_size": [a.height, a.width],
    }
    trace = Trace(cases.DTYPES[a.dtype], a.inputs, a.taps)
    mutants.use(a.mutant)
    nn.use_order(a.order)
    nn.use_compute(a.compute)
    pipeline = Pipeline(a.model, experts, trace.dtype.type, trace)
    pipeline.generate(settings)
    pipeline.check_weights()
    return trace


def keep_row(trace, row):
    """As a port has it that runs the rows one after the other: of tensors with as many rows as most have."""
    sizes = [t.shape[0] for t in trace.tensors.values()]
    batch = max(set(sizes), key=sizes.count)
    if row >= batch:
        raise FileError(f"--row {row}: the batch has {batch} rows, counted from 0")
    for name, t in trace.tensors.items():
        if t.shape[0] == batch:
            trace.tensors[name] = t[row : row + 1].copy()


def main(argv):
    a = arguments(argv)
    if a.list_mutants:
        list_mutants(a.json)
        return 0
    experts = (a.face, a.hand, a.gates) if a.face else None
    start = time.monotonic()
    try:
        trace = run_case(a, experts) if a.case else run_prompt(a, experts)
        spent = time.monotonic() - start
        if a.dump:
            if a.row is not None:
                keep_row(trace, a.row)
            trace.write(a.dump, made_with="tests/port")
    except FileError as error:
        print(f"port: {error}", file=sys.stderr)
        return 3
    except OSError as error:
        print(f"port: {error.filename}: {error.strerror}", file=sys.stderr)
        return 3
    except KeyError as error:
        print(f"port: a config.json or manifest.json lacks {error}", file=sys.stderr)
        return 3
    print(f"{len(trace.tensors)} taps, {a.dtype}, sums: {a.order}, {spent:.1f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
