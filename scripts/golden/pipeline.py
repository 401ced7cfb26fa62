"""Whole runs, prompt to pixels, written from the parts of diffusers and transformers.

Two things are replaced for the float64 truth, and nothing else: the timestep angles (see
taps.ExactTimesteps), and the scheduler's table, which is widened to float64 so that what follows
from its float32 values is computed in float64 (DDIMScheduler.step would take square roots of
float32 scalars).
"""

import copy
from pathlib import Path

import torch
from diffusers import DDIMScheduler

from golden import components, models, units
from golden.formats import Case

# What the authors' script comes down to: it takes the library's defaults, and the pipeline that it
# builds then sets steps_offset to 1 and clip_sample to false.
AUTHORS = {
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "prediction_type": "epsilon",
    "set_alpha_to_one": True,
    "clip_sample": False,
}
BASE = {
    "prompt": components.LONG,
    "negative_prompt": "unclear hands, bad face, poor quality",
    "seed": 42,
    "num_inference_steps": 5,
    "guidance_scale": 7.5,
    "width": 64,
    "height": 64,
    "eta": 0.0,
    "scheduler": AUTHORS,
}


def make_scheduler(out, settings, dtype):
    """The model's betas, the run's other settings."""
    config = {**models.load(out, "scheduler").config, **settings}
    scheduler = DDIMScheduler.from_config(config)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(dtype)
    scheduler.final_alpha_cumprod = scheduler.final_alpha_cumprod.to(dtype)
    return scheduler


class Taps(dict):
    """Of a run, in order. force: taps of another run, each of which replaces what was kept under its name."""

    def __init__(self, force=None):
        super().__init__()
        self.force = force or {}

    def keep(self, name, value):
        self[name] = value
        return self.force[name].to(value.dtype) if name in self.force else value


def run(parts, scheduler, settings, dtype, force=None):
    """The taps of one run."""
    tokenizer, text_encoder, unet, vae = parts
    guided = settings["guidance_scale"] > 1.0
    prompts = [settings["negative_prompt"]] * guided + [settings["prompt"]]
    taps = Taps(force)
    ids = tokenizer(
        prompts, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids
    context = taps.keep("prompt_embeds", text_encoder(ids).last_hidden_state)
    torch.manual_seed(settings["seed"])
    shape = (1, 4, settings["height"] // 8, settings["width"] // 8)
    latents = taps.keep("latents", torch.randn(shape, dtype=torch.float32).to(dtype))
    scheduler.set_timesteps(settings["num_inference_steps"])
    for k, t in enumerate(scheduler.timesteps):
        batch = torch.cat([latents] * len(prompts))
        noise = components.run_unet(unet, batch, t, context, dtype)
        noise = taps.keep(f"step.{k:03d}/noise_pred", noise)
        if guided:
            negative, positive = noise.chunk(2)
            noise = negative + settings["guidance_scale"] * (positive - negative)
        noise = taps.keep(f"step.{k:03d}/guided", noise)
        latents = scheduler.step(noise, t, latents, eta=settings["eta"]).prev_sample
        latents = taps.keep(f"step.{k:03d}/latents", latents)
    pixels = taps.keep("vae.decoder", vae.decode(latents / vae.config.scaling_factor).sample)
    taps.keep("image", (pixels / 2 + 0.5).clamp(0, 1))
    return taps


def keep(name, last):
    """For the long runs: every step's latents, the other taps of the first and last step only."""
    return name.endswith("/latents") or not name.startswith("step.") or name[5:8] in ("000", last)


def case(out, name, about, with_mole, **changes):
    """Run twice and write golden/runs/<name>."""
    settings = {**BASE, **changes}
    parts = [
        models.load(out, "tokenizer"),
        models.load(out, "text_encoder"),
        components.load_unet(out, with_mole),
        models.load(out, "vae"),
    ]

    def taps(kernels, dtype, force=None):
        """Those of one run in this type."""
        context, prepare = units.ALL[kernels]
        typed = [parts[0]] + [prepare(copy.deepcopy(part).to(dtype)) for part in parts[1:]]
        scheduler = make_scheduler(out, settings["scheduler"], dtype)
        with torch.no_grad(), context():
            return run(typed, scheduler, settings, dtype, force)

    last, long = f"{settings['num_inference_steps'] - 1:03d}", settings["num_inference_steps"] > 9
    truth = {k: v for k, v in taps("default", torch.float64).items() if not long or keep(k, last)}

    def passes(names, force=None):
        """The errors of a float32 run with each of the kernels."""
        runs = (taps(kernels, torch.float32, force) for kernels in names)
        return [units.Errors({name: made[name] for name in truth}, truth) for made in runs]

    measured = units.Measured(
        truth,
        f32=passes(units.CAREFUL),
        isolated=passes(units.CAREFUL, truth),
        naive=passes(units.NAIVE, truth),
    )
    golden = Case(Path(out) / "runs" / name, "run", about)
    components.write(
        golden,
        measured,
        component="pipeline",
        model=components.model_entry(out, ["text_encoder", "unet", "vae"], with_mole),
        settings=settings,
        inputs={},
    )


def run_5_mole(out):
    """The smallest whole run."""
    case(out, "run-5-mole", "Five steps with face and hand experts.", True)


def run_5_mole_48x40(out):
    """Not square, not a multiple of 64: the latent is 5 x 6."""
    changes = {"width": 48, "height": 40, "seed": 7}
    case(out, "run-5-mole-48x40", "Five steps, 48 wide, 40 high.", True, **changes)


def run_50_mole(out):
    """The authors' number of steps."""
    about = "Fifty steps; taps of the first and last step, latents of all."
    case(out, "run-50-mole", about, True, num_inference_steps=50, seed=1234)


def run_5_plain(out):
    """Stable Diffusion without experts."""
    case(out, "run-5-plain", "Five steps of plain Stable Diffusion.", False, width=32)


def run_5_scheduler_config(out):
    """The settings that the model folder brings."""
    config = models.load(out, "scheduler").config
    settings = {key: config[key] for key in AUTHORS}
    about = "Five steps with the settings of scheduler_config.json: the last alpha is not 1."
    case(out, "run-5-scheduler-config", about, True, scheduler=settings, height=32)


def run_4_vpred(out):
    """Velocity prediction and no guidance: one conditional pass per step."""
    settings = {**AUTHORS, "prediction_type": "v_prediction", "timestep_spacing": "trailing"}
    case(
        out,
        "run-4-vpred",
        "Four steps of v-prediction with trailing timesteps, without guidance: batches of one.",
        True,
        num_inference_steps=4,
        guidance_scale=1.0,
        scheduler=settings,
    )
