"""Whole runs, prompt to pixels, written from the parts of diffusers and transformers.

Two things are replaced for the float64 truth, and nothing else: the timestep angles (see
taps.ExactTimesteps), and the scheduler's table, which is widened to float64 so that what follows
from its float32 values is computed in float64 (DDIMScheduler.step would take square roots of
float32 scalars, EulerDiscreteScheduler.step round to float32). Where that table has square roots in it, those
of zero terminal SNR, they are correctly rounded in float32 (see sampler.exact_roots).
"""

import copy
from pathlib import Path

import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, StableDiffusionXLPipeline
from diffusers.schedulers import scheduling_euler_discrete

from golden import components, deviations, models, sampler, units
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


EULER = "EulerDiscreteScheduler"


def make_scheduler(out, settings, dtype, steps, model=models.SD15):
    """The model's betas, the run's other settings, the timesteps of a run."""
    config = {**models.load(out, "scheduler", model).config, **settings}
    if config.pop("class", None) == EULER:
        scheduler = EulerDiscreteScheduler.from_config(config)
        scheduler.set_timesteps(steps)
        scheduler.sigmas = sampler.exact_sigmas(scheduler).to(dtype)
        return scheduler
    with sampler.exact_roots():
        scheduler = DDIMScheduler.from_config(config)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(dtype)
    scheduler.final_alpha_cumprod = scheduler.final_alpha_cumprod.to(dtype)
    scheduler.set_timesteps(steps)
    return scheduler


def step(scheduler, noise, t, latents, eta):
    """The latents after a step. Euler computes in float32 where all else has fewer digits; not in float64."""
    if isinstance(scheduler, DDIMScheduler):
        return scheduler.step(noise, t, latents, eta=eta).prev_sample
    if latents.dtype != torch.float64:
        return scheduler.step(noise, t, latents).prev_sample
    scheduling_euler_discrete.torch = sampler.AllOf(latents.dtype)
    try:
        return scheduler.step(noise, t, latents).prev_sample
    finally:
        scheduling_euler_discrete.torch = torch


class Taps(dict):
    """Of a run, in order. force: taps of another run, each of which replaces what was kept under its name."""

    def __init__(self, force=None):
        super().__init__()
        self.force = force or {}

    def keep(self, name, value):
        self[name] = value
        return self.force[name].to(value.dtype) if name in self.force else value


def encode(parts, settings, taps):
    """(context, None) of prompts, negative first."""
    guided = settings["guidance_scale"] > 1.0
    prompts = [settings["negative_prompt"]] * guided + [settings["prompt"]]
    ids = parts["tokenizer"](prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids
    return taps.keep("prompt_embeds", parts["text_encoder"](ids).last_hidden_state), None


def encode_xl(parts, settings, taps):
    """(context, XL's other conditions), by diffusers' own pipeline."""
    guided = settings["guidance_scale"] > 1.0
    zeros = settings["negative_rule"] == "zeros"
    own = {name: part for name, part in parts.items() if name != "vae"}
    pipe = StableDiffusionXLPipeline(vae=None, scheduler=None, force_zeros_for_empty_prompt=zeros, **own)
    context, negative, pooled, negative_pooled = pipe.encode_prompt(
        settings["prompt"],
        device=torch.device("cpu"),
        do_classifier_free_guidance=guided,
        negative_prompt=settings["negative_prompt"],
    )
    numbers = pipe._get_add_time_ids(
        *(tuple(settings[key]) for key in ("original_size", "crops_coords_top_left", "target_size")),
        dtype=context.dtype,
        text_encoder_projection_dim=pooled.shape[1],
    )
    if guided:
        context, pooled = torch.cat([negative, context]), torch.cat([negative_pooled, pooled])
    context = taps.keep("prompt_embeds", context)
    pooled = taps.keep("add_text_embeds", pooled)
    numbers = taps.keep("add_time_ids", numbers.repeat(1 + guided, 1))
    return context, {"text_embeds": pooled, "time_ids": numbers}


def run(parts, scheduler, settings, dtype, force=None):
    """The taps of one run. parts: tokenizers and models by component."""
    guided = settings["guidance_scale"] > 1.0
    settings = deviations.texts(settings)
    taps = Taps(force)
    context, added = (encode_xl if "text_encoder_2" in parts else encode)(parts, settings, taps)
    unet, vae = parts["unet"], parts["vae"]
    torch.manual_seed(settings["seed"])
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    shape = (1, unet.config.in_channels, settings["height"] // factor, settings["width"] // factor)
    latents = torch.randn(shape, dtype=torch.float32).to(dtype) * scheduler.init_noise_sigma
    latents = taps.keep("latents", latents)
    for k, t in enumerate(scheduler.timesteps):
        batch = scheduler.scale_model_input(torch.cat([latents] * (1 + guided)), t)
        noise = components.run_unet(unet, batch, t, context, dtype, added=added)
        noise = taps.keep(f"step.{k:03d}/noise_pred", noise)
        if guided:
            negative, positive = noise.chunk(2)
            noise = negative + settings["guidance_scale"] * (positive - negative)
        noise = taps.keep(f"step.{k:03d}/guided", noise)
        latents = step(scheduler, noise, t, latents, settings["eta"])
        latents = taps.keep(f"step.{k:03d}/latents", latents)
    pixels = taps.keep("vae.decoder", vae.decode(latents / vae.config.scaling_factor).sample)
    taps.keep("image", (pixels / 2 + 0.5).clamp(0, 1))
    return taps


def keep(name, last):
    """For the long runs: every step's latents, the other taps of the first and last step only."""
    return name.endswith("/latents") or not name.startswith("step.") or name[5:8] in ("000", last)


def load_parts(out, model, with_mole):
    """Everything of a model, in float32."""
    names = (*models.MODELS[model].pads, *models.MODELS[model].texts, "vae")
    parts = {name: models.load(out, name, model) for name in names}
    return {**parts, "unet": components.load_unet(out, with_mole, model)}


def case(out, name, about, with_mole, model=models.SD15, **changes):
    """Run twice and write golden/runs/<name>."""
    settings = {**BASE, **changes}
    parts = load_parts(out, model, with_mole)

    def taps(kernels, dtype, force=None):
        """Those of one run in this type."""
        context, prepare = units.ALL[kernels]
        typed = {
            key: prepare(copy.deepcopy(part).to(dtype)) if isinstance(part, torch.nn.Module) else part
            for key, part in parts.items()
        }
        deviations.apply(typed, settings.get("deviations", ()))
        steps = settings["num_inference_steps"]
        scheduler = make_scheduler(out, settings["scheduler"], dtype, steps, model)
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
        model=components.model_entry(out, [*models.MODELS[model].texts, "unet", "vae"], with_mole, model),
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


def sd21_run_3_mole(out):
    """v2.1: velocity prediction with guidance; the latent is 6 x 9."""
    settings = {**AUTHORS, "prediction_type": "v_prediction"}
    about = "Three steps of v2.1 with experts: v-prediction and guidance, 72 wide, 48 high."
    case(
        out, "sd21-run-3-mole", about, True, components.V21,
        num_inference_steps=3, width=72, height=48, seed=3, scheduler=settings,
    )  # fmt: skip


def sd21base_run_3(out):
    """v2.1 base: the same network, predicting the noise."""
    about = "Three steps of v2.1's network with epsilon, as v2.1 base runs, without experts."
    case(out, "sd21base-run-3", about, False, components.V21, num_inference_steps=3, height=48, seed=4)


def other_run_2_mole(out):
    """What the published models have in common is otherwise.

    Clipped latents are flat in places, and a group of small variance multiplies errors: with seed 24 by 2 in a
    step, with seeds 21 and 27 by 20.
    """
    about = "Two steps of other-tiny, predicting the picture: 900 linear levels to zero SNR, clipped, rows of 50."
    config = models.load(out, "scheduler", models.OTHER).config
    settings = {
        "negative_prompt": None,
        "negative_rule": "encoded",
        "original_size": [40, 90],
        "crops_coords_top_left": [3, 7],
        "target_size": [12, 16],
        "scheduler": {key: config[key] for key in AUTHORS},
    }
    size = {"width": 16, "height": 12, "num_inference_steps": 2, "seed": 24, "guidance_scale": 2.0}
    case(out, "other-run-2-mole", about, True, models.OTHER, **settings, **size)


PEOPLE_PROMPT = "a smiling woman with long red hair and glasses, wearing a green sweater, showing two fingers in a park"


def people_run_4(out):
    """A picture that one recognises."""
    settings = {**AUTHORS, "prediction_type": "v_prediction"}
    about = "Four steps of the trained model that draws people, with its experts: v-prediction with guidance 4."
    case(
        out, "people-run-4", about, True, models.PEOPLE, prompt=PEOPLE_PROMPT, negative_prompt="", seed=1,
        num_inference_steps=4, guidance_scale=4.0, width=128, height=128, scheduler=settings,
    )  # fmt: skip


XL_BASE = {
    "num_inference_steps": 2,
    "guidance_scale": 5.0,
    "negative_prompt": None,
    "negative_rule": "zeros",
    "original_size": [96, 160],
    "crops_coords_top_left": [8, 24],
}


def sdxl_run_2_mole(out):
    """XL: no negative prompt, zeros in its place; the latent is 6 x 8."""
    size = {"width": 64, "height": 48, "target_size": [48, 64]}
    about = "Two steps of XL with experts; the absent negative prompt is zeros."
    case(out, "sdxl-run-2-mole", about, True, components.XL, **{**XL_BASE, **size, "seed": 13})


def sdxl_run_2_mole_encoded(out):
    """The other rule; the latent is 5 x 7, which no level halves evenly."""
    size = {"width": 56, "height": 40, "target_size": [40, 56], "negative_rule": "encoded"}
    about = "Two steps of XL with experts; the absent negative prompt is the encoded empty string."
    case(out, "sdxl-run-2-mole-encoded", about, True, components.XL, **{**XL_BASE, **size, "seed": 16})


def sdxl_run_2_negative(out):
    """A negative prompt is encoded whatever the rule says; and the experts are absent."""
    size = {"width": 32, "height": 40, "target_size": [40, 32], "negative_prompt": BASE["negative_prompt"]}
    about = "Two steps of plain XL with a negative prompt, which is encoded though the rule is zeros."
    case(out, "sdxl-run-2-negative", about, False, components.XL, **{**XL_BASE, **size, "seed": 7})


SMALL = {"width": 32, "height": 40, "target_size": [40, 32], "num_inference_steps": 1}


def deviating(out, name, about, with_mole, names, **changes):
    """One step of XL with some of the authors' deviations."""
    about = f"One step of XL as the authors' program computes it: {about}."
    settings = {**XL_BASE, **SMALL, "deviations": names, **changes}
    case(out, name, about, with_mole, components.XL, **settings)


def sdxl_run_1_suffixes(out):
    """The negative prompt is not given: it becomes the authors' words, whatever the rule."""
    names = [deviations.SUFFIXES]
    about = "their fixed words after both prompts"
    deviating(out, "sdxl-run-1-suffixes", about, False, names, prompt=components.SHORT, seed=21)


def sdxl_run_1_bf16_gates(out):
    """A gate near the middle of two bfloat16 numbers is in float32 now and then the other one."""
    names = [deviations.BF16_GATES]
    deviating(out, "sdxl-run-1-bf16-gates", "gates in bfloat16", True, names, seed=22)


def sdxl_run_1_authors(out):
    """Everything that the preset turns on; the prompt has no brackets."""
    names, about = deviations.AUTHORS_XL, "everything of the preset authors-xl"
    changes = {"seed": 23, "negative_rule": "encoded", "prompt": components.SHORT}
    deviating(out, "sdxl-run-1-authors", about, True, names, **changes)


LEADING = {"class": EULER, "timestep_spacing": "leading", "steps_offset": 1, "prediction_type": "epsilon"}


def sdxl_run_2_euler(out):
    """The sampler and the settings that XL's own folder asks for."""
    settings = {**XL_BASE, **SMALL, "num_inference_steps": 2, "seed": 33, "scheduler": LEADING}
    about = "Two Euler steps of XL with experts, leading timesteps, as its folder asks for."
    case(out, "sdxl-run-2-euler", about, True, components.XL, **settings)


def sdxl_run_2_euler_trailing(out):
    """The other start: the largest sigma itself."""
    scheduler = {**LEADING, "timestep_spacing": "trailing", "prediction_type": "v_prediction"}
    settings = {**XL_BASE, **SMALL, "num_inference_steps": 2, "seed": 32, "scheduler": scheduler}
    about = "Two Euler steps of XL with trailing timesteps and v-prediction, without experts."
    case(out, "sdxl-run-2-euler-trailing", about, False, components.XL, **settings)
