"""Pictures from a model: DDIM with guidance, as the C program draws them."""

import torch
from data import NONE
from words import encode


def decode(vae, latents, scale):
    """(B,C,h,w) latents to (B,H,W,3) uint8."""
    out = torch.cat([vae.decode(part / scale).sample for part in latents.split(8)])
    return ((out / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()


def context(text, tokens):
    return text(input_ids=tokens).last_hidden_state


def initial(recipe, seeds):
    """The noise that a picture starts from, by its seed, as diffusers draws it."""
    shape = (1, recipe["unet"]["in_channels"], recipe["unet"]["sample_size"], recipe["unet"]["sample_size"])
    return torch.cat([torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds])


@torch.no_grad()
def generate(recipe, scheduler, unet, text, tokenizer, prompts, seeds):
    """Latents for prompts, one seed each."""
    ids = torch.from_numpy(encode(tokenizer, [NONE, *prompts]).astype("int64"))
    rows = context(text, ids)
    both = torch.cat([rows[:1].expand(len(prompts), -1, -1), rows[1:]])
    x = initial(recipe, seeds)
    scheduler.set_timesteps(recipe["sample_steps"])
    for t in scheduler.timesteps:
        out = unet(torch.cat([x, x]), t, both).sample
        without, given = out.chunk(2)
        x = scheduler.step(without + recipe["guidance"] * (given - without), t, x).prev_sample
    return x
