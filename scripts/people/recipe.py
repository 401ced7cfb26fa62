"""The recipes: every number that a training depends on, but for how long its stages last.

`steps` may be changed between two runs of a training: the rate of learning is constant but for the last
quarter of a stage, so that more steps only move that quarter. Whatever else a stage depends on is held
against its checkpoint (`fingerprint`), and a checkpoint of another recipe is refused.
"""

import hashlib
import json

UNET = dict(
    sample_size=16,
    in_channels=8,
    out_channels=8,
    center_input_sample=False,
    flip_sin_to_cos=True,
    freq_shift=0,
    down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    mid_block_type="UNetMidBlock2DCrossAttn",
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    block_out_channels=(80, 96, 128),
    layers_per_block=1,
    downsample_padding=1,
    mid_block_scale_factor=1,
    act_fn="silu",
    norm_num_groups=8,
    norm_eps=1e-5,
    cross_attention_dim=128,
    attention_head_dim=4,  # the number of heads: the name is v1.5's
)
VAE = dict(
    in_channels=3,
    out_channels=3,
    down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4,
    block_out_channels=(16, 32, 64, 64),
    layers_per_block=1,
    act_fn="silu",
    latent_channels=8,
    norm_num_groups=8,
    sample_size=128,
    scaling_factor=1.0,  # set from the latents once the VAE is trained
)
TEXT = dict(
    hidden_size=128,
    intermediate_size=512,
    num_hidden_layers=3,
    num_attention_heads=4,
    max_position_embeddings=77,
    hidden_act="quick_gelu",
    layer_norm_eps=1e-5,
    projection_dim=128,
)
# The schedule of Stable Diffusion, set up as the authors of MoLE do; the velocity is what the UNet predicts.
SCHEDULER = dict(
    num_train_timesteps=1000,
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule="scaled_linear",
    prediction_type="v_prediction",
    timestep_spacing="leading",
    steps_offset=1,
    set_alpha_to_one=True,
    clip_sample=False,
)

SCENES = {"half": 0.60, "portrait": 0.24, "two": 0.16}

FULL = dict(
    name="full",
    seed=1,
    drawings=1,  # to be raised with every change of what is drawn or said
    merges=1000,  # at most: every word of the captions becomes one token before that
    captions=3,  # ways of saying it that are kept of each picture
    unet=UNET,
    vae=VAE,
    text=TEXT,
    scheduler=SCHEDULER,
    # Pictures of each set, by kind. The base sees a few close-ups, as the pretrained model of the paper did.
    sets={
        "base": (25000, {**{k: 0.8 * v for k, v in SCENES.items()}, "face": 0.08, "hand": 0.12}),
        "face": (10000, {"face": 1.0}),
        "hand": (10000, {"hand": 1.0}),
        "held": (1000, {"half": 0.3, "portrait": 0.15, "two": 0.15, "face": 0.2, "hand": 0.2}),
    },
    stages={
        "vae": dict(steps=9000, batch=8, crop=64, whole=0.2, whole_batch=2, rate=1e-3, square=4.0, kl=1e-3),
        "base": dict(steps=4000, batch=32, rate=6e-4, dropout=0.1, ema=0.9995),
        "face": dict(steps=1600, batch=32, rate=1e-3, dropout=0.1, ema=0.998, rank=16, alpha=16.0),
        "hand": dict(steps=1600, batch=32, rate=1e-3, dropout=0.1, ema=0.998, rank=16, alpha=16.0),
        "gates": dict(steps=900, batch=32, rate=2e-3, dropout=0.1, ema=0.998),
    },
    gamma=5.0,  # of the min-SNR weights
    warmup=150,
    guidance=4.0,
    sample_steps=25,
    samples=24,
    log_every=20,
    sample_every=500,
    save_minutes=4.0,
)


def smoke():
    """Everything of FULL, in two minutes: networks that learn nothing."""
    made = json.loads(json.dumps(FULL))
    made.update(name="smoke", merges=300, samples=4, sample_steps=3, log_every=2, sample_every=6, warmup=2)
    made["unet"].update(block_out_channels=[16, 16, 16], cross_attention_dim=16)
    made["vae"].update(block_out_channels=[8, 8, 8, 8])
    made["text"].update(hidden_size=16, intermediate_size=32, num_hidden_layers=1, projection_dim=16)
    for name, (_, mixture) in made["sets"].items():
        made["sets"][name] = (24, mixture)
    for stage in made["stages"].values():
        stage.update(steps=6, batch=4)
    return made


ORDER = ("vae", "base", "face", "hand", "gates")


def ablations(recipe):
    """Further stages, each `like` one of ORDER, for what docs compare with the model.

    control: the base for as many further steps as experts and gates had. gates-local, gates-global: one of the
    two gates alone, the other held open. face-R, hand-R, gates-R: rank R.
    """
    stages, made = recipe["stages"], {}
    further = sum(stages[name]["steps"] for name in ("face", "hand", "gates"))
    made["control"] = {**stages["base"], "like": "control", "steps": further, "ema": stages["gates"]["ema"]}
    for only in ("local", "global"):
        made[f"gates-{only}"] = {**stages["gates"], "like": "gates", "only": only}
    for rank in (4, 64):
        for name in ("face", "hand"):
            made[f"{name}-{rank}"] = {**stages[name], "like": name, "rank": rank, "alpha": float(rank)}
        made[f"gates-{rank}"] = {**stages["gates"], "like": "gates", "experts": [f"face-{rank}", f"hand-{rank}"]}
    return made


FULL["stages"].update(ablations(FULL))


def like(recipe, stage):
    """Which of ORDER, or "control", a stage is a variant of."""
    return recipe["stages"][stage].get("like", stage)


def experts_of(recipe, stage):
    """The stages of the experts that a stage of gates joins."""
    return recipe["stages"][stage].get("experts", ["face", "hand"])


def needs(recipe, stage):
    """The stages that must be done before this one."""
    kind = like(recipe, stage)
    if kind == "gates":
        return experts_of(recipe, stage)
    return {"vae": [], "base": ["vae"]}.get(kind, ["base"])


KEYS = {
    "vae": ("seed", "drawings", "vae", "warmup"),
    "base": ("unet", "text", "scheduler", "merges", "captions", "gamma"),
}
SETS = {
    "vae": (),
    "base": ("base",),
    "face": ("face",),
    "hand": ("hand",),
    "gates": ("base", "face", "hand"),
    "control": ("base", "face", "hand"),
}


def parts(recipe, stage):
    """Everything that the weights of a stage depend on, but for the numbers of steps."""
    made = {key: recipe[key] for key in KEYS.get(stage, ())}
    made["stage"] = {k: v for k, v in recipe["stages"][stage].items() if k != "steps"}
    made["sets"] = {name: recipe["sets"][name] for name in SETS[like(recipe, stage)]}
    made["before"] = [parts(recipe, name) for name in needs(recipe, stage)]
    return made


def fingerprint(recipe, stage):
    """A short hash of them."""
    return hashlib.sha256(json.dumps(parts(recipe, stage), sort_keys=True).encode()).hexdigest()[:16]
