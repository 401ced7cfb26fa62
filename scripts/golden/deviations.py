"""Where the authors' published program computes something else than their method says, each by name.

What a name stands for is in docs/decisions.md; `apply` does it to models that were loaded in the right way.
"""

import torch

from golden.mole import MoleLayer

SUFFIXES, NO_ATTENTION = "prompt-suffixes", "vae-without-attention"
UNTURNED, BF16_GATES = "text-projection-unturned", "bf16-gates"
AUTHORS_XL = [SUFFIXES, NO_ATTENTION, UNTURNED, BF16_GATES]
POSITIVE, NEGATIVE = " best quality, 8K", " poor quality, unclear hand, bad face "


def texts(settings):
    """The settings with the prompts that are encoded."""
    if SUFFIXES not in settings.get("deviations", ()):
        return settings
    prompt, negative = settings["prompt"] + POSITIVE, (settings["negative_prompt"] or "") + NEGATIVE
    return {**settings, "prompt": prompt, "negative_prompt": negative}


class Discarded:
    """A processor of the VAE's attention whose attention is computed and thrown away."""

    def __call__(self, attn, hidden_states, *args, **kwargs):
        batch, channels, height, width = hidden_states.shape
        tokens = hidden_states.reshape(batch, channels, height * width)
        tokens = attn.to_out[0](attn.group_norm(tokens).transpose(1, 2))
        return tokens.transpose(1, 2).reshape(hidden_states.shape) + hidden_states


def bf16(x):
    """x with bfloat16's numbers, in its own type."""
    return x.to(torch.bfloat16).to(x.dtype)


def bf16_gate(logit):
    """What sigmoid gives of bfloat16 logits in bfloat16, the sigmoid itself exact."""
    exact = torch.sigmoid(bf16(logit).double()).to(logit.dtype)
    return bf16(exact)


def check_gate():
    """torch's own sigmoid of bfloat16 is this one: of all numbers between -32 and 32."""
    bits = torch.arange(0x4200, dtype=torch.int32)
    numbers = torch.cat([bits, bits - 0x8000]).to(torch.int16).view(torch.bfloat16)
    own = torch.sigmoid(numbers)
    other = (bf16_gate(numbers.double()) != own.double()).sum().item()
    assert other == 0, f"{other} of {len(numbers)} gates are others than torch's"


def apply(parts, names):
    """In place. parts: name -> model, of those that there are."""
    for name in names:
        assert name in AUTHORS_XL, name
    if NO_ATTENTION in names and "vae" in parts:
        parts["vae"].decoder.mid_block.attentions[0].set_processor(Discarded())
    if UNTURNED in names and "text_encoder_2" in parts:
        weight = parts["text_encoder_2"].text_projection.weight
        weight.data = weight.data.T.contiguous()
    if BF16_GATES in names and "unet" in parts:
        check_gate()
        for module in parts["unet"].modules():
            if isinstance(module, MoleLayer):
                module.gate = bf16_gate
