"""The tiny model: a diffusers folder with the topology of Stable Diffusion v1.5."""

import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from golden import vocabulary
from golden.weights import fill, see_noise

UNET_GROUPS, VAE_GROUPS = 8, 4
HIDDEN = 40

UNET = dict(
    sample_size=16,
    in_channels=4,
    out_channels=4,
    center_input_sample=False,
    flip_sin_to_cos=True,
    freq_shift=0,
    down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    mid_block_type="UNetMidBlock2DCrossAttn",
    up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    block_out_channels=(16, 32, 64, 64),
    layers_per_block=2,
    downsample_padding=1,
    mid_block_scale_factor=1,
    act_fn="silu",
    norm_num_groups=UNET_GROUPS,
    norm_eps=1e-5,
    cross_attention_dim=HIDDEN,
    attention_head_dim=8,  # the number of heads: the name is v1.5's
)
VAE = dict(
    in_channels=3,
    out_channels=3,
    down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4,
    block_out_channels=(8, 16, 32, 32),
    layers_per_block=2,
    act_fn="silu",
    latent_channels=4,
    norm_num_groups=VAE_GROUPS,
    sample_size=128,
    scaling_factor=0.18215,
)
TEXT = dict(
    hidden_size=HIDDEN,
    intermediate_size=160,
    num_hidden_layers=3,
    num_attention_heads=5,
    max_position_embeddings=77,
    hidden_act="quick_gelu",
    layer_norm_eps=1e-5,
    projection_dim=HIDDEN,
)
# What Stable Diffusion v1.5 ships, but for the class. The authors of MoLE build their scheduler
# otherwise: with set_alpha_to_one true.
SCHEDULER = dict(
    num_train_timesteps=1000,
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule="scaled_linear",
    prediction_type="epsilon",
    timestep_spacing="leading",
    steps_offset=1,
    set_alpha_to_one=False,
    clip_sample=False,
)


def make_tokenizer(folder):
    """Train the vocabulary, let transformers write its files, and add the classic ones.

    transformers 5 writes tokenizer.json and tokenizer_config.json only; vocab.json, merges.txt and
    special_tokens_map.json are what the v1.5 checkpoints have.
    """
    merges = vocabulary.train_tiny()
    ids = vocabulary.vocabulary(merges)
    tokenizer = CLIPTokenizer(vocab=ids, merges=merges, model_max_length=77)
    tokenizer.save_pretrained(folder)
    vocabulary.write(folder, merges)
    special = {
        "bos_token": vocabulary.BOS,
        "eos_token": vocabulary.EOS,
        "pad_token": vocabulary.EOS,
        "unk_token": vocabulary.EOS,
    }
    (Path(folder) / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    return CLIPTokenizer.from_pretrained(folder)


def name_text_model(path):
    """Put the classic `text_model.` in front of the text encoder's weight names.

    transformers 5 dropped that level; every Stable Diffusion checkpoint has it.
    """
    tensors = load_file(path)
    if not any(key.startswith("text_model.") for key in tensors):
        tensors = {f"text_model.{key}": value for key, value in tensors.items()}
        save_file(tensors, path, metadata={"format": "pt"})


def make(out, work):
    """Write golden/models/sd15-tiny; `work` is a folder for scratch."""
    folder = Path(out) / "models" / "sd15-tiny"
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer = make_tokenizer(Path(work) / "tokenizer")
    unet = see_noise(fill(UNet2DConditionModel(**UNET), "unet", UNET_GROUPS, torch.float16))
    vae = fill(AutoencoderKL(**VAE), "vae", VAE_GROUPS, torch.float32)
    text_config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **TEXT,
    )
    # Numbers that bfloat16 holds, stored as F32: transformers takes the stored type for the type to
    # compute in, and NumPy has no bfloat16.
    text = fill(CLIPTextModel(text_config), "text_encoder", None, torch.bfloat16)
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text.to(torch.float32),
        tokenizer=tokenizer,
        unet=unet.to(torch.float16),
        scheduler=DDIMScheduler(**SCHEDULER),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    for name in ("vocab.json", "merges.txt", "special_tokens_map.json"):
        shutil.copy(Path(work) / "tokenizer" / name, folder / "tokenizer" / name)
    name_text_model(folder / "text_encoder" / "model.safetensors")


def load(out, part):
    """One component of the tiny model, in float32 (the widening is exact)."""
    folder = Path(out) / "models" / "sd15-tiny"
    if part == "tokenizer":
        return CLIPTokenizer.from_pretrained(folder / "tokenizer")
    if part == "scheduler":
        return DDIMScheduler.from_pretrained(folder / "scheduler")
    kind = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}[part]
    model = kind.from_pretrained(folder / part, torch_dtype=torch.float32)
    return model.eval().requires_grad_(False)
