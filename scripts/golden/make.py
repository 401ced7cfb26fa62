"""Makes the golden data anew: python scripts/golden/make.py --out golden [--only NAME]."""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # for `import golden`

import torch  # noqa: E402

from golden import components, models, mole, ops_linear, ops_mole, ops_pointwise  # noqa: E402
from golden import pipeline, stats  # noqa: E402


def make_models(out):
    """The tiny model and its experts, checked to look like real ones."""
    with tempfile.TemporaryDirectory() as work:
        models.make(out, work)
    folder = Path(out) / "models" / "sd15-tiny-mole"
    mole.make_files(folder, models.load(out, "unet"), models.UNET_GROUPS)
    if not stats.check(out):
        raise SystemExit("golden: a figure of the tiny model left its range, see above")


# name -> what makes it; the models come first, since the runs read them.
CASES = {
    "models": make_models,
    "ops/matmul": ops_linear.matmul,
    "ops/linear": ops_linear.linear,
    "ops/conv2d": ops_linear.conv2d,
    "ops/attention": ops_linear.attention,
    "ops/group_norm": ops_pointwise.group_norm,
    "ops/layer_norm": ops_pointwise.layer_norm,
    "ops/activations": ops_pointwise.activations,
    "ops/softmax": ops_pointwise.softmax,
    "ops/geglu": ops_pointwise.geglu,
    "ops/embedding": ops_pointwise.embedding,
    "ops/upsample_nearest": ops_pointwise.upsample_nearest,
    "ops/timestep_embedding": ops_pointwise.timestep_embedding,
    "ops/concat": ops_pointwise.concat,
    "ops/mole": ops_mole.mole,
    "runs/text-encoder": components.text_encoder,
    "runs/unet-step": components.unet_step,
    "runs/unet-step-plain": components.unet_step_plain,
    "runs/vae-decode": components.vae_decode,
    "runs/run-5-mole": pipeline.run_5_mole,
    "runs/run-5-mole-48x40": pipeline.run_5_mole_48x40,
    "runs/run-50-mole": pipeline.run_50_mole,
    "runs/run-5-plain": pipeline.run_5_plain,
    "runs/run-5-scheduler-config": pipeline.run_5_scheduler_config,
    "runs/run-4-vpred": pipeline.run_4_vpred,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the golden folder")
    parser.add_argument("--only", metavar="NAME", help="only cases whose name holds NAME")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name, function in CASES.items():
        if args.only in (None, name) or args.only in name:
            print(f"golden: {name}", flush=True)
            function(args.out)


if __name__ == "__main__":
    main()
