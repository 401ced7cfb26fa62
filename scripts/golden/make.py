"""Makes the golden data anew, or checks the committed ones.

  python scripts/golden/make.py --out golden                     everything
  python scripts/golden/make.py --out golden --only unet-step    cases whose name holds this
  python scripts/golden/make.py --out golden --check             compare, exit 1 on a difference
  python scripts/golden/make.py --out golden --units             how wide the units of the runs are
  python scripts/golden/make.py --out golden --original DIR      hold them against the authors' code
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # for `import golden`
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import diffusers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

from golden import check, components, full, io_cases, models, mole, names, ops_linear  # noqa: E402
from golden import ops_mole, ops_pointwise, pipeline, prompts, sampler, stats  # noqa: E402
from golden import synth_hashes, tokenizers_golden, units  # noqa: E402


def make_models(out):
    """The tiny models and their experts, checked to look like real ones."""
    for name, model in models.MODELS.items():
        if model.trained:
            continue
        with tempfile.TemporaryDirectory() as work:
            models.make(out, work, name)
        unet = models.load(out, "unet", name)
        mole.make_files(models.folder_of(out, f"{name}-mole"), unet, model)
    if not stats.check(out):
        raise SystemExit("golden: a figure of a tiny model left its range, see above")


def operations(module):
    """Each function of the module makes the operation of its name."""
    made = vars(module).values()
    return {f"ops/{f.__name__}": f for f in made if getattr(f, "__module__", "") == module.__name__}


# name -> what makes it; the models come first, since the others read them.
CASES = {
    "models": make_models,
    **operations(ops_linear),
    **operations(ops_pointwise),  # activations: silu, gelu, quick_gelu, sigmoid
    "ops/mole": ops_mole.mole,
    "runs/text-encoder": components.text_encoder,
    "runs/unet-step": components.unet_step,
    "runs/unet-step-plain": components.unet_step_plain,
    "runs/unet-plain": components.unet_plain,
    "runs/unet-mole": components.unet_mole,
    "runs/vae-decode": components.vae_decode,
    "runs/run-5-mole": pipeline.run_5_mole,
    "runs/run-5-mole-48x40": pipeline.run_5_mole_48x40,
    "runs/run-50-mole": pipeline.run_50_mole,
    "runs/run-5-plain": pipeline.run_5_plain,
    "runs/run-5-scheduler-config": pipeline.run_5_scheduler_config,
    "runs/run-4-vpred": pipeline.run_4_vpred,
    "runs/sd21-text-encoder": components.sd21_text_encoder,
    "runs/sd21-unet-mole": components.sd21_unet_mole,
    "runs/sd21-run-3-mole": pipeline.sd21_run_3_mole,
    "runs/sd21base-run-3": pipeline.sd21base_run_3,
    "runs/sdxl-text-encoder": components.sdxl_text_encoder,
    "runs/sdxl-text-encoder-2": components.sdxl_text_encoder_2,
    "runs/sdxl-unet": components.sdxl_unet,
    "runs/sdxl-run-2-mole": pipeline.sdxl_run_2_mole,
    "runs/sdxl-run-2-mole-encoded": pipeline.sdxl_run_2_mole_encoded,
    "runs/sdxl-run-2-negative": pipeline.sdxl_run_2_negative,
    "runs/sdxl-run-1-suffixes": pipeline.sdxl_run_1_suffixes,
    "runs/sdxl-run-1-bf16-gates": pipeline.sdxl_run_1_bf16_gates,
    "runs/sdxl-run-1-authors": pipeline.sdxl_run_1_authors,
    "runs/sdxl-run-2-euler": pipeline.sdxl_run_2_euler,
    "runs/sdxl-run-2-euler-trailing": pipeline.sdxl_run_2_euler_trailing,
    "runs/sdxl-vae-without-attention": components.sdxl_vae_without_attention,
    "runs/sdxl-text-encoder-2-unturned": components.sdxl_text_encoder_2_unturned,
    "runs/other-unet-mole": components.other_unet_mole,
    "runs/other-run-2-mole": pipeline.other_run_2_mole,
    "runs/people-unet": components.people_unet,
    "runs/people-run-4": pipeline.people_run_4,
    "tokenizer/sd15-tiny": tokenizers_golden.small,
    "tokenizer/sd21-tiny": tokenizers_golden.padded_with_0,
    "tokenizer/clip-vit-l14": tokenizers_golden.clip,
    "prompts": prompts.prompts_json,
    "pipeline/weight_embeddings": prompts.weight_embeddings,
    "sampler/randn": sampler.randn,
    "sampler/philox": sampler.philox,
    "sampler/ddim-tables": sampler.ddim_tables,
    "sampler/ddim_step": sampler.ddim_step,
    "sampler/euler-tables": sampler.euler_tables,
    "sampler/euler_step": sampler.euler_step,
    "synth/hashes": synth_hashes.make,
    "names": names.make,
    "fingerprints": full.tiny,
    "io/values": io_cases.dtypes,
    "io/text-encoder-names": io_cases.text_encoder_names,
}


def make(out, only):
    """Run the cases; returns the names of those that could not be made here."""
    skipped = []
    for name, function in CASES.items():
        if only and only not in name:
            continue
        print(f"golden: {name}", flush=True)
        try:
            function(out)
        except subprocess.CalledProcessError as error:
            print(f"golden: SKIP {name}: {' '.join(map(str, error.cmd[2:]))} failed")
            skipped.append(name)
    for path in Path(out).rglob("*.safetensors"):
        path.chmod(0o644)
    return skipped


def table(out):
    """Case, number of taps, calls or rows, bytes."""
    total = sum(p.stat().st_size for p in Path(out).rglob("*") if p.is_file())
    print(f"\n{'case':40s} {'entries':>8s} {'bytes':>10s}")
    for path in sorted([*Path(out).rglob("manifest.json"), *Path(out).glob("*/*.json")]):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if "format" not in manifest:
            continue
        entries = sum(len(v) for v in manifest.values() if isinstance(v, list))
        whole = path.name == "manifest.json"
        files = path.parent.rglob("*") if whole else [path]
        size = sum(p.stat().st_size for p in files if p.is_file())
        name = (path.parent if whole else path).relative_to(out)
        print(f"{str(name):40s} {entries:8d} {size:10d}")
    print(f"{'all, with the models':40s} {'':8s} {total:10d}")


def check_all(out, only):
    """Make everything in a scratch folder and compare."""
    with tempfile.TemporaryDirectory() as scratch:
        if only and only not in "models":
            shutil.copytree(Path(out) / "models", Path(scratch) / "models")
        skipped = make(scratch, only)
        for name in skipped:
            source = Path(out) / f"{name}.json"
            shutil.copy(source, Path(scratch) / f"{name}.json")
        if (Path(out) / "full").is_dir():
            shutil.copytree(Path(out) / "full", Path(scratch) / "full")
            print("golden-check: SKIP full: not compared (full.py makes it, in half an hour)")
        within = None
        if only:
            made = {p.relative_to(scratch) for p in Path(scratch).glob("*/*")}
            within = [str(p) for p in made if p.parts[0] != "models" or only in "models"]
        agree = check.compare(out, scratch, within)
        for name in skipped:
            print(f"golden-check: SKIP {name}: not compared")
    return agree


def units_of_runs(out, only):
    """Make the runs in a scratch folder, and print what docs/numbers.md says of their units."""
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(Path(out) / "models", Path(scratch) / "models")
        for name, function in CASES.items():
            if name.startswith("runs/") and (only or "") in name:
                function(scratch)
        units.table()


def main():
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument("--out", type=Path, required=True, help="the golden folder")
    parser.add_argument("--only", metavar="NAME", help="only cases whose name holds NAME")
    parser.add_argument("--check", action="store_true", help="compare, change nothing")
    parser.add_argument("--units", action="store_true", help="print the units' widths")
    parser.add_argument("--original", type=Path, metavar="DIR", help="a copy of JiePKU/MoLE")
    args = parser.parse_args()
    if args.only and not any(args.only in name for name in CASES):
        parser.error(f"no case has {args.only} in its name; there are: {', '.join(CASES)}")
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        parser.error(
            "needs x86-64 with AVX2: torch.randn and torch.linspace give other bits elsewhere, "
            "and the committed noise and tables are those (see box_muller.py)"
        )
    torch.set_num_threads(1)
    for library in (diffusers, transformers):
        library.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    if args.check:
        raise SystemExit(0 if check_all(args.out, args.only) else 1)
    if args.units:
        units_of_runs(args.out, args.only)
        return
    if args.original:
        from golden import original

        raise SystemExit(0 if original.compare(args.out, args.original) else 1)
    make(args.out, args.only)
    table(args.out)
    units.table()


if __name__ == "__main__":
    main()
