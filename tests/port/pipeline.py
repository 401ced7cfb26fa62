"""From a prompt to a picture, and each component alone."""

import os

import numpy as np

import deviations
import mole
import nn
import sampler
import text_encoder
import unet
import vae
from model import Component, read_json
from mutants import mutant
from safetensors_np import FileError
from tokenizer import Tokenizer
from torch_random import Generator

WEIGHTS = "diffusion_pytorch_model.safetensors"


class Pipeline:
    """A folder of diffusers, and perhaps (face, hand, gates). trace: who watches."""

    def __init__(self, folder, experts, dtype, trace):
        self.folder, self.experts, self.dtype, self.trace = folder, experts, dtype, trace
        self.parts = {}

    def part(self, name):
        if name not in self.parts:
            file = "model.safetensors" if name.startswith("text_encoder") else WEIGHTS
            part = Component(name, os.path.join(self.folder, name), file, self.dtype)
            part.trace = self.trace
            if name == "unet" and self.experts:
                part.experts = mole.load(*self.experts, self.dtype)
            self.parts[name] = part
        return self.parts[name]

    def check_weights(self):
        """Nothing in the files may be left over but what only an encoder of pictures needs, and XL's last
        layer of the first text encoder."""
        for name, part in self.parts.items():
            unused = ["encoder.", "quant_conv.", "text_model.embeddings.position_ids"]
            if self.is_xl() and name == "text_encoder":
                unused += text_encoder.last_layer_of(part.config)
            part.weights.check_all_used(unused)

    def is_xl(self):
        """Does the folder have two text encoders?"""
        return os.path.isdir(os.path.join(self.folder, "text_encoder_2"))

    def encode_ids(self, ids, real=None):
        """What the UNet reads of the first text encoder."""
        if self.is_xl() and not mutant("last-for-penultimate"):
            return text_encoder.penultimate(self.part("text_encoder"), np.asarray(ids))
        return text_encoder.forward(self.part("text_encoder"), np.asarray(ids), real)

    def encode_ids_2(self, ids):
        """(states, pooled) of XL's second text encoder."""
        return text_encoder.penultimate_and_pooled(self.part("text_encoder_2"), np.asarray(ids))

    def denoise(self, sample, timestep, prompt):
        return unet.forward(self.part("unet"), sample, timestep, prompt)

    def decode(self, latents):
        return vae.decode(self.part("vae"), latents)

    def tokenize(self, name, texts):
        """(ids, which are real) by one of the tokenizers. None is an empty text."""
        tokenizer = Tokenizer(os.path.join(self.folder, name))
        ids, real = zip(*(tokenizer.encode(text or "") for text in texts))
        return np.array(ids), np.array(real)

    def encode(self, texts):
        ids, real = self.tokenize("tokenizer", texts)
        states = self.trace.tap("prompt_embeds", self.encode_ids(ids, real))
        return unet.Prompt(states, real)

    def encode_xl(self, texts, settings):
        """The states of both text encoders side by side, the pooled vector, the numbers.

        A negative prompt that is None becomes zeros where the rule says so.
        """
        ids, real = self.tokenize("tokenizer", texts)
        first = self.encode_ids(ids)
        other = "tokenizer" if mutant("padding-id-2") else "tokenizer_2"
        given = ["", *texts[1:]] if mutant("negative-first-only") else texts
        second, pooled = self.encode_ids_2(self.tokenize(other, given)[0])
        states = np.concatenate([second, first] if mutant("text-encoders-swapped") else [first, second], -1)
        zeros = (settings["negative_rule"] == "zeros") != mutant("negative-rule")
        if mutant("pooled-normalised"):
            pooled = nn.rounded(pooled / np.sqrt((pooled * pooled).sum(-1, keepdims=True)))
        for i, text in enumerate(texts):
            if text is None and zeros:
                states[i], pooled[i] = 0, pooled[i] if mutant("negative-pooled-kept") else 0
        states, pooled = self.trace.tap("prompt_embeds", states), self.trace.tap("add_text_embeds", pooled)
        keys = ("original_size", "crops_coords_top_left", "target_size")
        numbers = [value for key in keys for value in settings[key]]
        numbers = np.array([numbers] * len(texts), self.dtype)
        return unet.Prompt(states, real, pooled, self.trace.tap("add_time_ids", numbers))

    def generate(self, settings):
        """settings: as in a golden case, see docs/golden-format.md."""
        if settings.get("eta", 0) != 0:
            raise FileError(
                f"eta {settings['eta']}: this port knows DDIM without noise only, eta 0"
            )
        trace, scale = self.trace, settings["guidance_scale"]
        positive, negative = deviations.prompts(settings["prompt"], settings["negative_prompt"])
        texts = [negative, positive] if scale > 1 else [positive]
        if mutant("negative-ignored") and scale > 1:
            texts[0] = ""
        if mutant("guidance-batch-order"):
            texts.reverse()
        prompt = self.encode_xl(texts, settings) if self.is_xl() else self.encode(texts)

        config = read_json(os.path.join(self.folder, "scheduler", "scheduler_config.json"))
        plan = sampler.plan({**config, **settings["scheduler"]}, settings["num_inference_steps"])
        channels = self.part("unet").config["in_channels"]
        factor = 2 ** (len(self.part("vae").config["block_out_channels"]) - 1)
        shape = (1, channels, settings["height"] // factor, settings["width"] // factor)
        latents = Generator(settings["seed"]).randn(*shape).astype(self.dtype)
        if mutant("noise-channels-last"):
            shape = shape[0], *shape[2:], shape[1]
            latents = Generator(settings["seed"]).randn(*shape).astype(self.dtype).transpose(0, 3, 1, 2)
        latents = (latents * plan.start).astype(self.dtype)
        latents = trace.tap("latents", nn.rounded(latents))
        for k, t in enumerate(plan.timesteps):
            trace.step(k)
            sample = nn.rounded(plan.scaled(latents, t))
            told = len(plan.timesteps) - 1 - k if mutant("timestep-index") else t
            output = self.denoise(np.concatenate([sample] * len(texts)), told, prompt)
            output = trace.tap("noise_pred", output)
            guided = nn.rounded(sampler.guide(output, scale)) if scale > 1 else output
            guided = trace.tap("guided", guided)
            latents = trace.tap("latents", nn.rounded(plan.step(latents, guided, t)))
        trace.step(None)

        factor = self.part("vae").config["scaling_factor"]
        if mutant("vae-scale-of-sdxl"):
            factor = 0.13025
        if mutant("vae-scale-missing"):
            factor = 1.0
        latents = nn.rounded(latents / factor)
        if mutant("latents-shifted"):  # as of Stable Diffusion 3
            latents = nn.rounded(latents + 0.0609)
        image = self.decode(latents)
        if mutant("image-not-shifted"):
            image = np.clip(image, 0, 1)
        else:
            image = nn.rounded(np.clip(image / 2 + 0.5, 0, 1))
        if mutant("image-in-bytes"):
            image = (np.floor(image * 255) / 255).astype(image.dtype)
        if mutant("image-bgr"):
            image = image[:, ::-1]
        return trace.tap("image", image)
