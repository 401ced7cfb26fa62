"""The stages: VAE, base, face expert, hand expert, gates."""

import hashlib

import experts
import networks
import numpy as np
import torch
import torch.nn.functional as F
from captions import caption
from data import SIZE, Batches, BadState, as_input, drawn, noise, vae_batch
from draw import save_png, tile
from golden.mole import wrap
from loop import Trainer
from recipe import experts_of, like
from sampling import context, decode, generate

def held_prompts(recipe, count, name="held"):
    """Captions of pictures that nothing is trained on."""
    return [caption(drawn(recipe, name, i)["attributes"]) for i in range(count)]


# ---- the VAE ----------------------------------------------------------------------------------------

def slopes(x):
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


class VaeTrainer(Trainer):
    """Absolute error of pixels, more where hands and faces are, and of their differences; squared error, from
    which colours are learned early; a little KL."""

    name = "vae"

    def __init__(self, state):
        self.vae = networks.make_vae(state.recipe).train()
        super().__init__(state, dict(self.vae.named_parameters()))

    def loss(self, step):
        o = self.options
        whole = step >= o["steps"] * (1 - o["whole"])
        batch, crop = (o["whole_batch"], SIZE) if whole else (o["batch"], o["crop"])
        x, weight = vae_batch(self.recipe, step, batch, crop)
        spread = self.vae.encode(x).latent_dist
        z = spread.mean + spread.std * torch.randn(spread.mean.shape, generator=noise(self.recipe, "vae", step))
        y = self.vae.decode(z).sample
        pixel = (weight * (y - x).abs()).mean() / weight.mean()
        edges = sum((a - b).abs().mean() for a, b in zip(slopes(y), slopes(x)))
        kl = 0.5 * (spread.mean**2 + spread.var - 1 - spread.logvar).mean()
        square = (y - x).pow(2).mean()
        figures = {"pixel": pixel, "edges": edges, "square": square, "kl": kl}
        total = pixel + edges + o["square"] * square + o["kl"] * kl
        return total, {name: value.item() for name, value in figures.items()}

    def sample(self, path):
        shown = [drawn(self.recipe, "held", i)["image"] for i in range(self.recipe["samples"])]
        x = as_input(shown)
        y = torch.cat([self.vae.decode(self.vae.encode(p).latent_dist.mean).sample for p in x.split(8)])
        again = ((y / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
        error = np.mean((again.astype(float) - np.stack(shown)) ** 2)
        self.state.say(f"vae {self.step} held-out PSNR {10 * np.log10(255**2 / max(error, 1e-9)):.2f} dB")
        pairs = [p for pair in zip(shown, again) for p in pair]
        save_png(path, tile(pairs, 8))


def loaded(module, saved):
    """A module with the averaged weights of its stage, frozen."""
    module.load_state_dict(dict(zip(saved["names"], saved["average"])), strict=True)
    return module.eval().requires_grad_(False)


def finished(state, name):
    """The checkpoint of a stage that is done."""
    saved = state.load(name)
    steps = state.recipe["stages"][name]["steps"]
    if not saved or saved["step"] < steps:
        at = saved["step"] if saved else 0
        raise BadState(f"{state.folder}: stage '{name}' is at step {at} of {steps}. Run it first.")
    return saved


def trained_vae(state):
    """(the VAE, a hash of its weights)."""
    saved = finished(state, "vae")
    maker = hashlib.sha256()
    for value in saved["average"]:
        maker.update(value.numpy().tobytes())
    return loaded(networks.make_vae(state.recipe), saved), maker.hexdigest()[:16]


# ---- what predicts noise ----------------------------------------------------------------------------

class Denoiser(Trainer):
    """The loss of stages 1 to 3: velocity, weighted by the lesser of SNR and gamma."""

    def __init__(self, state, common, parameters, shares):
        super().__init__(state, parameters)
        if state.bfloat16:
            networks.plain_attention(self.unet, self.text)
        self.common = common
        self.scheduler = networks.make_scheduler(self.recipe)
        self.batches = Batches(state.folder, self.recipe, self.name, shares, common.tokenizer, common.scale)

    def loss(self, step):
        b = self.batches.batch(step)
        acp = self.scheduler.alphas_cumprod[b["t"]]
        a, s = acp.sqrt()[:, None, None, None], (1 - acp).sqrt()[:, None, None, None]
        target = a * b["noise"] - s * b["x0"]
        made = self.unet(a * b["x0"] + s * b["noise"], b["t"], self.rows(b["tokens"])).sample
        each = F.mse_loss(made, target, reduction="none").mean((1, 2, 3))
        snr = acp / (1 - acp)
        weight = snr.clamp(max=self.recipe["gamma"]) / (snr + 1)
        # Velocity's error over SNR + 1 is the clean picture's; the sum is scaled to be about 1 at first.
        return 4 * (weight * each).mean(), {"loss": each.mean().item()}

    def rows(self, tokens):
        with torch.no_grad():
            return context(self.text, tokens)

    def prompts(self):
        return held_prompts(self.recipe, self.recipe["samples"])

    def sample(self, path):
        prompts = self.prompts()
        latents = generate(self.recipe, self.scheduler, self.unet, self.text, self.common.tokenizer, prompts,
                           range(len(prompts)))
        save_png(path, tile(list(decode(self.common.vae, latents, self.common.scale)), 8))


class BaseTrainer(Denoiser):
    """Stage 1: the UNet and the text encoder, on scenes."""

    name = "base"

    def __init__(self, state, common):
        self.unet = networks.make_unet(state.recipe)
        self.text = networks.make_text(state.recipe, common.tokenizer)
        parameters = {f"unet.{k}": v for k, v in self.unet.named_parameters()}
        parameters |= {f"text.{k}": v for k, v in self.text.named_parameters()}
        super().__init__(state, common, parameters, {"base": 1.0})

    def rows(self, tokens):
        return context(self.text, tokens)


def trained_base(state, common):
    """(UNet, text encoder) of stage 1, frozen."""
    saved = finished(state, "base")
    parts = {"unet": {}, "text": {}}
    for name, value in zip(saved["names"], saved["average"]):
        part, _, rest = name.partition(".")
        parts[part][rest] = value
    unet, text = networks.make_unet(state.recipe), networks.make_text(state.recipe, common.tokenizer)
    for module, part in ((unet, "unet"), (text, "text")):
        module.load_state_dict(parts[part], strict=True)
        module.eval().requires_grad_(False)
    return unet, text


MIXTURE = {"base": 0.5, "face": 0.25, "hand": 0.25}


class ControlTrainer(Denoiser):
    """The fair comparison: the base, trained on as experts and gates were, on what they saw."""

    def __init__(self, state, common, name):
        self.name = name
        self.unet, self.text = trained_base(state, common)
        super().__init__(state, common, dict(self.unet.requires_grad_(True).named_parameters()), MIXTURE)


def trained_control(state, common):
    """(UNet, text encoder) of the control, frozen."""
    unet, text = trained_base(state, common)
    return loaded(unet, finished(state, "control")), text


class ExpertTrainer(Denoiser):
    """Stage 2: one low-rank expert on its close-ups."""

    def __init__(self, state, common, name):
        self.name, self.set = name, like(state.recipe, name)
        self.unet, self.text = trained_base(state, common)
        o = state.recipe["stages"][name]
        seed = state.recipe["seed"] + {"face": 10, "hand": 11}[self.set]
        layers = experts.add_expert(self.unet, o["rank"], o["alpha"], seed)
        super().__init__(state, common, experts.expert_parameters(layers), {self.set: 1.0})

    def prompts(self):
        return held_prompts(self.recipe, self.recipe["samples"], self.set)


def expert_files(state, gates="gates"):
    """face and hand: the tensors of the files that a stage of gates joins."""
    made = {}
    for name, stage in zip(experts.EXPERTS, experts_of(state.recipe, gates)):
        alpha = state.recipe["stages"][stage]["alpha"]
        made[name] = experts.expert_tensors(finished(state, stage), alpha)
    return made


class GateTrainer(Denoiser):
    """Stage 3: the gates alone, on the mixture of all sets."""

    def __init__(self, state, common, name):
        self.name = name
        self.unet, self.text = trained_base(state, common)
        files = expert_files(state, name)
        files["gates"] = experts.fresh_gates(self.unet, state.recipe["seed"] + 3)
        only = state.recipe["stages"][name].get("only")
        held = experts.hold_open(files["gates"], only) if only else ()
        layers = wrap(self.unet, files)
        gates = experts.gate_parameters(layers)
        for key in held:
            gates[key].requires_grad_(False)
        super().__init__(state, common, {k: v for k, v in gates.items() if k not in held}, MIXTURE)


def gate_tensors(state, unet, name="gates"):
    """What the file of the gates holds."""
    saved = finished(state, name)
    made = experts.fresh_gates(unet, 0)
    only = state.recipe["stages"][name].get("only")
    if only:
        experts.hold_open(made, only)
    return {**made, **dict(zip(saved["names"], saved["average"]))}


def trainer(state, common, name):
    kind = like(state.recipe, name)
    if kind == "vae":
        return VaeTrainer(state)
    if kind == "base":
        return BaseTrainer(state, common)
    return {"gates": GateTrainer, "control": ControlTrainer}.get(kind, ExpertTrainer)(state, common, name)
