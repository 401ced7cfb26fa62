"""The networks of a recipe, and the diffusers folder that they make."""

import shutil
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
sys.path.append(str(Path(__file__).resolve().parents[1]))  # the package golden

import torch  # noqa: E402
from diffusers import (  # noqa: E402
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.models.attention_processor import AttnProcessor  # noqa: E402
from golden.models import name_text_model  # noqa: E402
from transformers import CLIPTextConfig, CLIPTextModel  # noqa: E402

PARTS = {"vae": AutoencoderKL, "unet": UNet2DConditionModel, "text_encoder": CLIPTextModel}


def make_vae(recipe):
    torch.manual_seed(recipe["seed"])
    return AutoencoderKL(**recipe["vae"])


def make_unet(recipe):
    torch.manual_seed(recipe["seed"] + 1)
    return UNet2DConditionModel(**recipe["unet"])


def make_text(recipe, tokenizer):
    torch.manual_seed(recipe["seed"] + 2)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **recipe["text"],
    )
    return CLIPTextModel(config)


def plain_attention(unet, text):
    """Attention as two products and a softmax: in bfloat16 the fused one's way back takes six times as long."""
    unet.set_attn_processor(AttnProcessor())
    text.set_attn_implementation("eager")


def make_scheduler(recipe):
    return DDIMScheduler(**recipe["scheduler"])


def save_folder(folder, recipe, tokenizer_folder, tokenizer, text, unet, vae):
    """Write the pipeline in F16, with CLIP's old names and the old files of the vocabulary."""
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    pipeline = StableDiffusionPipeline(
        vae=vae.half(),
        text_encoder=text.half(),
        tokenizer=tokenizer,
        unet=unet.half(),
        scheduler=make_scheduler(recipe),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    for name in ("vocab.json", "merges.txt", "special_tokens_map.json"):
        shutil.copy(Path(tokenizer_folder) / name, folder / "tokenizer" / name)
    name_text_model(folder / "text_encoder" / "model.safetensors")
