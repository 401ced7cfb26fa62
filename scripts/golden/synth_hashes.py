"""golden/synth/hashes.json: SHA-256 of what the formula gives, so that any port can check its own.

    python scripts/golden/synth_hashes.py --out golden
"""

import argparse
import hashlib
import os
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # for `import golden`
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402

from golden import full, mole, synth  # noqa: E402
from golden.formats import dump_json  # noqa: E402

# name, shape, seed, rank, alpha
TENSORS = [
    ("text_encoder.text_model.embeddings.token_embedding.weight", (49408, 768), 0, 1, 1),
    ("text_encoder.text_model.encoder.layers.11.mlp.fc2.weight", (768, 3072), 0, 1, 1),
    ("text_encoder.text_model.final_layer_norm.weight", (768,), 0, 1, 1),
    ("unet.conv_in.weight", (320, 4, 3, 3), 0, 1, 1),
    ("unet.conv_in.weight", (320, 4, 3, 3), 1, 1, 1),
    ("unet.conv_in.weight", (320, 4, 3, 3), 2**64 - 1, 1, 1),
    ("unet.conv_in.bias", (320,), 0, 1, 1),
    ("unet.conv_norm_out.weight", (320,), 0, 1, 1),
    ("unet.time_embedding.linear_2.weight", (1280, 1280), 0, 1, 1),
    ("unet.up_blocks.0.resnets.0.conv1.weight", (1280, 2560, 3, 3), 0, 1, 1),
    ("unet.mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj.weight", (10240, 1280), 7, 1, 1),
    ("vae.decoder.mid_block.attentions.0.to_out.0.weight", (512, 512), 0, 1, 1),
    ("vae.decoder.conv_out.weight", (3, 128, 3, 3), 0, 1, 1),
    ("face.lora_unet_mid_block_attentions_0_proj_in.lora_up.weight", (1280, 256), 0, 256, 64),
    ("hand.lora_unet_mid_block_attentions_0_proj_in.lora_down.weight", (256, 1280), 0, 256, 128),
    ("gates.moe_lora_unet_mid_block_attentions_0_proj_in.softmoe.Phi_1.weight", (2, 1280), 0, 1, 1),
    ("gates.moe_lora_unet_mid_block_attentions_0_proj_in.softmoe.face_scale.bias", (1,), 0, 1, 1),
    ("input.sample", (2, 4, 64, 64), 0, 1, 1),
]


def digest(values):
    """SHA-256 of float32 numbers, little endian."""
    return hashlib.sha256(np.ascontiguousarray(values, "<f4").tobytes()).hexdigest()


def tiny_parts():
    """{part: {name: float32 array}} of synth:sd15-tiny, its experts and gates."""
    unet = full.load_unet("sd15-tiny", torch.float32, False)
    text = full.load_text("sd15-tiny", torch.float32)
    vae = full.load_vae("sd15-tiny", torch.float32)
    sites = [
        (path, *reversed(module.weight.shape[:2]), False) for path, module in mole.targets(unet)
    ]
    parts = {"unet": dict(unet.named_parameters()), "vae": dict(vae.named_parameters())}
    parts["text_encoder"] = {
        name if name.startswith("text_model.") else f"text_model.{name}": value
        for name, value in text.named_parameters()
    }
    parts = {k: {n: v.numpy() for n, v in tensors.items()} for k, tensors in parts.items()}
    for name, (rank, alpha) in full.TINY_EXPERTS.items():
        made = synth.expert(sites, name, rank, alpha)
        parts[name] = {n: v for n, v in made.items() if not n.endswith(".alpha")}
    parts["gates"] = synth.gates(sites, tuple(full.TINY_EXPERTS))
    return parts


def whole(tensors):
    """SHA-256 over all tensors in the order of their names: name, a zero byte, float32 numbers."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        total.update(name.encode() + b"\0")
        total.update(np.ascontiguousarray(tensors[name], "<f4").tobytes())
    return total.hexdigest()


def make(out):
    """Write the file."""
    folder = Path(out) / "synth"
    folder.mkdir(parents=True, exist_ok=True)
    keys = ("name", "shape", "seed", "rank", "alpha", "sha256")
    rows = [
        dict(zip(keys, (*row[:2], str(row[2]), *row[3:], digest(synth.numbers(*row)))))
        for row in TENSORS
    ]
    parts = [
        {"part": part, "tensors": len(tensors), "sha256": whole(tensors)}
        for part, tensors in tiny_parts().items()
    ]
    head = {"format": "mole-synth", "version": 1, "about": "What the formula of docs/synth.md gives."}
    dump_json(folder / "hashes.json", {**head, "tensors": rows, "sd15-tiny": parts})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="golden")
    make(parser.parse_args().out)


if __name__ == "__main__":
    main()
