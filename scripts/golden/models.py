"""The tiny models: diffusers folders with the topologies of Stable Diffusion v1.5, v2.1 and XL, and one of none.

A model is an entry of MODELS: configurations, and how its weights are stored. `people` is not made here: it was
trained (scripts/people).
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from golden import vocabulary
from golden.weights import fill, see_noise
from people import recipe

# v1.5's; the others say what differs.
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
    norm_num_groups=8,
    norm_eps=1e-5,
    cross_attention_dim=40,
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
    norm_num_groups=4,
    sample_size=128,
    scaling_factor=0.18215,
)
TEXT = dict(
    hidden_size=40,
    intermediate_size=160,
    num_hidden_layers=3,
    num_attention_heads=5,
    max_position_embeddings=77,
    hidden_act="quick_gelu",
    layer_norm_eps=1e-5,
    projection_dim=40,
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
V21_UNET = dict(
    block_out_channels=(8, 16, 32, 32),
    norm_num_groups=4,
    cross_attention_dim=24,
    attention_head_dim=(2, 4, 8, 8),  # numbers of heads: 5, 10, 20, 20 in v2.1
    use_linear_projection=True,
    upcast_attention=True,  # says something of 16-bit runs only
)
SMALL_VAE = dict(block_out_channels=(8, 12, 16, 16))
# The ids that the files of v2.1 and XL state; 2 is read as: the end token is the largest id.
LEGACY_IDS = dict(bos_token_id=0, eos_token_id=2, pad_token_id=1)
V21_TEXT = dict(
    hidden_size=24,
    intermediate_size=96,
    num_hidden_layers=5,
    num_attention_heads=3,
    hidden_act="gelu",
    projection_dim=12,
    **LEGACY_IDS,
)
XL_WIDTHS, XL_NUMBER_WIDTH = (16, 20), 8
XL_UNET = dict(
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    block_out_channels=(8, 12, 16),
    norm_num_groups=4,
    cross_attention_dim=sum(XL_WIDTHS),
    attention_head_dim=(2, 3, 4),  # numbers of heads: 5, 10, 20 in XL
    transformer_layers_per_block=(1, 2, 10),
    use_linear_projection=True,
    addition_embed_type="text_time",
    addition_time_embed_dim=XL_NUMBER_WIDTH,
    projection_class_embeddings_input_dim=XL_WIDTHS[1] + 6 * XL_NUMBER_WIDTH,
)
XL_TEXT = dict(
    hidden_size=XL_WIDTHS[0],
    intermediate_size=4 * XL_WIDTHS[0],
    num_hidden_layers=3,
    num_attention_heads=2,
    projection_dim=XL_WIDTHS[0],
    **LEGACY_IDS,
)
XL_TEXT_2 = dict(
    hidden_size=XL_WIDTHS[1],
    intermediate_size=4 * XL_WIDTHS[1],
    num_hidden_layers=4,
    num_attention_heads=5,
    hidden_act="gelu",
    projection_dim=XL_WIDTHS[1],
    **LEGACY_IDS,
)
OTHER_WIDTHS, OTHER_POOLED, OTHER_NUMBER_WIDTH = (10, 14), 9, 6
OTHER_UNET = dict(
    sample_size=20,
    in_channels=6,
    out_channels=6,
    flip_sin_to_cos=False,
    freq_shift=1,
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    block_out_channels=(12, 18),
    layers_per_block=1,
    norm_num_groups=3,
    norm_eps=1e-3,
    cross_attention_dim=sum(OTHER_WIDTHS),
    attention_head_dim=(3, 2),
    transformer_layers_per_block=(2, 3),
    addition_embed_type="text_time",
    addition_time_embed_dim=OTHER_NUMBER_WIDTH,
    projection_class_embeddings_input_dim=OTHER_POOLED + 6 * OTHER_NUMBER_WIDTH,
)
OTHER_VAE = dict(
    down_block_types=("DownEncoderBlock2D",) * 2,
    up_block_types=("UpDecoderBlock2D",) * 2,
    block_out_channels=(6, 12),
    layers_per_block=1,
    latent_channels=6,
    norm_num_groups=3,
    scaling_factor=0.7,
    use_quant_conv=False,
    use_post_quant_conv=False,
)
# The end token's id is not the largest, and no 2: it is looked for in the row. The activations are those of
# XL's text encoders exchanged; no width is a multiple of another.
OTHER_TEXT = dict(
    hidden_size=OTHER_WIDTHS[0],
    intermediate_size=26,
    num_hidden_layers=3,
    num_attention_heads=2,
    max_position_embeddings=60,
    hidden_act="gelu",
    layer_norm_eps=1e-3,
    projection_dim=7,
)
OTHER_TEXT_2 = dict(
    OTHER_TEXT,
    hidden_size=OTHER_WIDTHS[1],
    intermediate_size=33,
    num_hidden_layers=2,
    num_attention_heads=7,
    hidden_act="quick_gelu",
    layer_norm_eps=1e-4,
    projection_dim=OTHER_POOLED,
)
OTHER_SCHEDULER = dict(
    num_train_timesteps=900,
    beta_start=0.0011,
    beta_end=0.015,
    beta_schedule="linear",
    prediction_type="sample",
    timestep_spacing="linspace",
    steps_offset=0,
    set_alpha_to_one=True,
    clip_sample=True,
    clip_sample_range=0.8,
    rescale_betas_zero_snr=True,
)
V21_SCHEDULER = dict(SCHEDULER, prediction_type="v_prediction", skip_prk_steps=True)
XL_SCHEDULER = dict(SCHEDULER, interpolation_type="linear", skip_prk_steps=True, sample_max_value=1.0)


@dataclass(frozen=True)
class Model:
    """A tiny model: what its folder says, and the types whose numbers its weights are."""

    unet: dict
    vae: dict
    texts: dict  # component -> configuration; text_encoder_2 has a projection
    pads: dict  # tokenizer -> padding token
    scheduler: tuple  # class, settings
    row: int = 77  # tokens of a text
    specials_inside: bool = False  # see vocabulary.vocabulary
    spare_ids: int = 0  # of the text encoders, beyond the vocabulary
    pipeline: type = StableDiffusionPipeline
    own: dict = None  # further arguments of the pipeline
    vae_type: torch.dtype = torch.float16
    text_types: tuple = (torch.float16, torch.float16)  # numbers of, stored as
    expert_type: torch.dtype = torch.bfloat16
    expert_names: str = "diffusers"  # or "ldm"
    residual: float = 1.0  # see weights.gain_of
    trained: bool = False  # its files are given

    @property
    def groups(self):
        """Of the UNet's group norms."""
        return self.unet["norm_num_groups"]

    @property
    def context(self):
        """The width of what attn2 attends to."""
        return self.unet["cross_attention_dim"]


OTHER, PEOPLE = "other-tiny", "people"
NO_CHECKER = dict(safety_checker=None, feature_extractor=None, requires_safety_checker=False)
MODELS = {
    "sd15-tiny": Model(
        unet=UNET,
        vae=VAE,
        texts={"text_encoder": TEXT},
        pads={"tokenizer": vocabulary.EOS},
        scheduler=(DDIMScheduler, SCHEDULER),
        own=NO_CHECKER,
        vae_type=torch.float32,
        # Numbers that bfloat16 holds, stored as F32: transformers takes the stored type for the type to
        # compute in, and NumPy has no bfloat16.
        text_types=(torch.bfloat16, torch.float32),
        expert_type=torch.float32,
    ),
    "sd21-tiny": Model(
        unet={**UNET, **V21_UNET},
        vae={**VAE, **SMALL_VAE},
        texts={"text_encoder": {**TEXT, **V21_TEXT}},
        pads={"tokenizer": "!"},
        scheduler=(DDIMScheduler, V21_SCHEDULER),
        own=NO_CHECKER,
        expert_type=torch.float16,
    ),
    "sdxl-tiny": Model(
        unet={**UNET, **XL_UNET},
        vae={**VAE, **SMALL_VAE, "scaling_factor": 0.13025},
        texts={"text_encoder": {**TEXT, **XL_TEXT}, "text_encoder_2": {**TEXT, **XL_TEXT_2}},
        pads={"tokenizer": vocabulary.EOS, "tokenizer_2": "!"},
        scheduler=(EulerDiscreteScheduler, XL_SCHEDULER),
        pipeline=StableDiffusionXLPipeline,
        own=dict(force_zeros_for_empty_prompt=True),
        expert_names="ldm",
        residual=0.35,
    ),
    # Of no published model: every entry of a configuration that v1.5, v2.1 and XL have in common is otherwise.
    OTHER: Model(
        unet={**UNET, **OTHER_UNET},
        vae={**VAE, **OTHER_VAE},
        texts={"text_encoder": OTHER_TEXT, "text_encoder_2": OTHER_TEXT_2},
        pads={"tokenizer": "$", "tokenizer_2": vocabulary.EOS},
        row=50,
        specials_inside=True,
        spare_ids=10,
        scheduler=(DDIMScheduler, OTHER_SCHEDULER),
        pipeline=StableDiffusionXLPipeline,
        own=dict(force_zeros_for_empty_prompt=False),
        expert_type=torch.float16,
    ),
    PEOPLE: Model(
        unet=recipe.UNET,
        vae=recipe.VAE,
        texts={"text_encoder": recipe.TEXT},
        pads={"tokenizer": vocabulary.EOS},
        scheduler=(DDIMScheduler, recipe.SCHEDULER),
        trained=True,
    ),
}
SD15 = "sd15-tiny"
TEXT_CLASSES = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}


def make_tokenizer(folder, pad, row=77, inside=False):
    """Train the vocabulary, let transformers write its files, and add the classic ones.

    transformers 5 writes tokenizer.json and tokenizer_config.json only; vocab.json, merges.txt and
    special_tokens_map.json are what the v1.5 checkpoints have.
    """
    merges = vocabulary.train_tiny()
    ids = vocabulary.vocabulary(merges, inside)
    tokenizer = CLIPTokenizer(vocab=ids, merges=merges, model_max_length=row, pad_token=pad)
    tokenizer.save_pretrained(folder)
    vocabulary.write(folder, merges, inside)
    special = {
        "bos_token": vocabulary.BOS,
        "eos_token": vocabulary.EOS,
        "pad_token": pad,
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


def prefix_of(name, component):
    """In the names that the random weights depend on."""
    return component if name == SD15 else f"{name}/{component}"


def make_text(name, component, tokenizer):
    """A text encoder in the type that it is stored in."""
    numbers, stored = MODELS[name].text_types
    ids = dict(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    size = len(tokenizer) + MODELS[name].spare_ids
    config = CLIPTextConfig(vocab_size=size, **{**ids, **MODELS[name].texts[component]})
    model = TEXT_CLASSES[component](config)
    return fill(model, prefix_of(name, component), None, numbers).to(stored)


def make(out, work, name=SD15):
    """Write golden/models/<name>; `work` is a folder for scratch."""
    folder, model = folder_of(out, name), MODELS[name]
    shutil.rmtree(folder, ignore_errors=True)
    tokenizers = {
        part: make_tokenizer(Path(work) / part, pad, model.row, model.specials_inside)
        for part, pad in model.pads.items()
    }
    unet = UNet2DConditionModel(**model.unet)
    fill(unet, prefix_of(name, "unet"), model.groups, torch.float16, model.residual)
    vae_groups = model.vae["norm_num_groups"]
    vae = fill(AutoencoderKL(**model.vae), prefix_of(name, "vae"), vae_groups, model.vae_type)
    scheduler_class, settings = model.scheduler
    pipeline = model.pipeline(
        vae=vae.to(model.vae_type),
        **{part: make_text(name, part, tokenizers["tokenizer"]) for part in model.texts},
        **tokenizers,
        unet=see_noise(unet).to(torch.float16),
        scheduler=scheduler_class.from_config(settings),
        **model.own,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    for part in tokenizers:
        for file in ("vocab.json", "merges.txt", "special_tokens_map.json"):
            shutil.copy(Path(work) / part / file, folder / part / file)
    for part in model.texts:
        name_text_model(folder / part / "model.safetensors")


def folder_of(out, name):
    """Of a tiny model."""
    return Path(out) / "models" / name


def load(out, part, name=SD15):
    """One component of a tiny model, in float32 (the widening is exact)."""
    folder = folder_of(out, name)
    if part.startswith("tokenizer"):
        return CLIPTokenizer.from_pretrained(folder / part)
    if part == "scheduler":
        return MODELS[name].scheduler[0].from_pretrained(folder / part)
    kind = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, **TEXT_CLASSES}[part]
    model = kind.from_pretrained(folder / part, torch_dtype=torch.float32)
    return model.eval().requires_grad_(False)
