"""Train a small MoLE that draws people: VAE, base, face expert, hand expert, gates.

    train.py --state DIR                    everything that is not done yet, then the files of the model
    train.py --state DIR --stage base       one stage
    train.py --state DIR --ablations        what the model is compared with: further stages
    train.py --state DIR --minutes 30       stop after half an hour; the next call goes on
    train.py --state DIR --bfloat16         multiply in bfloat16: faster on processors that do so (AMX, AVX512-BF16)
    train.py --state DIR --smoke            all stages with networks that learn nothing, in two minutes
    train.py --state DIR --from MODEL       begin with the VAE and the base of a model folder
    train.py --state DIR --from MODEL --experts FOLDER       with its face, hand and gates.safetensors, too
    train.py --state DIR --export           the model as it is now (experts and gates where they are done)

SIGTERM and Ctrl-C stop after the step in progress; what was reached is kept. Status: 0 all that was asked
is done, 75 stopped before that, 3 the state folder cannot be used (the message says why), 2 wrong usage.
"""

import argparse
import json
import os
import sys
import types
from pathlib import Path

sys.dont_write_bytecode = True

import networks  # noqa: E402  (it sets the path to the package golden)
import numpy as np  # noqa: E402
import torch  # noqa: E402
from adopt import adopt, adopt_experts  # noqa: E402
from data import BadState, Cache, write  # noqa: E402
from loop import State, Stopper  # noqa: E402
from recipe import FULL, ORDER, SETS, like, smoke  # noqa: E402
from stages import trained_vae, trainer  # noqa: E402
from words import CLIPTokenizer, make_tokenizer  # noqa: E402

STOPPED = 75


def tokenizer_of(state):
    """The tokenizer, made once."""
    folder = state.folder / "tokenizer"
    if not (folder / "special_tokens_map.json").exists():
        return make_tokenizer(folder, state.recipe["merges"])
    return CLIPTokenizer.from_pretrained(folder)


def common_of(state):
    """What all stages after the VAE share: the VAE, the scale of its latents, the tokenizer."""
    vae, maker = trained_vae(state)
    return types.SimpleNamespace(vae=vae, maker=maker, scale=None, tokenizer=tokenizer_of(state))


def scale_of(state, common):
    """1 over the deviation of the latents, rounded, kept in a file."""
    path = state.folder / "scale.json"
    if path.exists():
        kept = json.loads(path.read_text())
        if kept["maker"] == common.maker:
            return kept["scale"]
    latents = Cache(state.folder, state.recipe, "base").open("r")["latents"][:2000]
    scale = round(float(1 / np.std(latents.astype(np.float64))), 4)
    write(path, json.dumps({"scale": scale, "maker": common.maker}))
    return scale


def run_stage(state, name, stopping):
    """One stage with the sets that it needs; False when it had to stop."""
    if name == "vae":
        return trainer(state, None, name).run(stopping)
    common = common_of(state)
    for needed in dict.fromkeys(("base", "held", *SETS[like(state.recipe, name)])):
        cache = Cache(state.folder, state.recipe, needed)
        with torch.autocast("cpu", torch.bfloat16, enabled=state.bfloat16):
            filled = cache.fill(common.vae, common.maker, common.tokenizer, stopping, state.say)
        if not filled:
            return False
    common.scale = scale_of(state, common)
    return trainer(state, common, name).run(stopping)


def done(state, name):
    saved = state.load(name)
    return bool(saved) and saved["step"] >= state.recipe["stages"][name]["steps"]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--state", required=True, type=Path, help="folder of checkpoints, sets and pictures")
    parser.add_argument("--stage", choices=FULL["stages"], metavar="NAME",
                        help="one of " + ", ".join(FULL["stages"]))
    parser.add_argument("--ablations", action="store_true", help="the stages that the model is compared with")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--steps", type=int, help="stop after so many steps; the next call goes on")
    parser.add_argument("--bfloat16", action="store_true", help="multiply in bfloat16 while training")
    parser.add_argument("--from", dest="model", type=Path, metavar="MODEL",
                        help="folder of a model of this recipe: its vocabulary, VAE and base are taken as done")
    parser.add_argument("--experts", type=Path, metavar="FOLDER",
                        help="with --from: face, hand and gates.safetensors there are taken as done")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--export", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 0)) or os.cpu_count())
    recipe = smoke() if options.smoke else FULL
    try:
        state = State(options.state, recipe, options.bfloat16)
        stopping = Stopper(options.minutes, options.steps)
        if options.model:
            adopt(state, options.model)
        if options.experts:
            adopt_experts(state, options.experts)
        if not options.export:
            others = [name for name in recipe["stages"] if name not in ORDER]
            for name in [options.stage] if options.stage else others if options.ablations else ORDER:
                if not done(state, name) and not run_stage(state, name, stopping):
                    return STOPPED
        if options.export or not (options.stage or options.ablations):
            from export import export

            common = common_of(state)
            common.scale = scale_of(state, common)
            state.say(f"the model: {export(state, common)}")
    except BadState as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
