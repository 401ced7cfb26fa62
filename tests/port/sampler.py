"""DDIM without noise of its own (eta = 0), and classifier-free guidance."""

import numpy as np

from mutants import mutant
from safetensors_np import FileError

f32 = np.float32


def linspace(start, end, n):
    """torch.linspace in float32: from both ends towards the middle, each place rounded once."""
    start, end = f32(start), f32(end)
    step = np.float64((end - start) / f32(n - 1))
    i = np.arange(n)
    return np.where(i < n // 2, start + step * i, end - step * (n - 1 - i)).astype(f32)


def alphas_cumprod(config):
    """The table, which torch computes in float32; these float32 numbers are the specification."""
    n, start, end = config["num_train_timesteps"], config["beta_start"], config["beta_end"]
    schedule = "linear" if mutant("beta-linear") else config["beta_schedule"]
    if mutant("betas-of-ddpm"):
        start, end, schedule = 1e-4, 0.02, "linear"
    if schedule == "linear":
        betas = linspace(start, end, n)
    elif schedule == "scaled_linear":
        betas = linspace(start**0.5, end**0.5, n)
        betas = betas * betas
    else:
        raise FileError(f"beta_schedule {schedule}: neither linear nor scaled_linear")
    if config.get("rescale_betas_zero_snr"):
        betas = without_signal_at_last(betas)
    return products(f32(1) - betas)


def products(alphas):
    """Of the first, of the first two, ...; in double, each rounded."""
    table, product = np.empty(len(alphas), f32), 1.0
    for t, alpha in enumerate(alphas):
        product *= float(alpha)
        table[t] = product
    return table


def without_signal_at_last(betas):
    """Lin et al. 2024, algorithm 1: the levels' square roots shifted and stretched, so that the last is 0."""
    roots = np.sqrt(products(f32(1) - betas))
    stretch = roots[0] / (roots[0] - roots[-1])
    levels = ((roots - roots[-1]) * stretch) ** 2
    return f32(1) - np.concatenate([levels[:1], levels[1:] / levels[:-1]])


def plan(config, steps):
    """By diffusers' class; DDIM where settings name none."""
    kind = config.get("class", "DDIMScheduler")
    if kind not in ("DDIMScheduler", "EulerDiscreteScheduler"):
        raise FileError(f"scheduler {kind}: this port knows DDIMScheduler and EulerDiscreteScheduler")
    return (Euler if kind.startswith("Euler") else Ddim)(config, steps)


class Ddim:
    start = 1.0  # the deviation of the first latents

    def __init__(self, config, steps):
        self.config, self.table = config, alphas_cumprod(config)
        self.train, self.steps = config["num_train_timesteps"], steps
        self.timesteps = self.spaced(config["timestep_spacing"], config["steps_offset"])

    def spaced(self, spacing, offset):
        n, train = self.steps, self.train
        if mutant("steps-offset"):
            offset = 0
        if mutant("timesteps-linspace"):
            spacing = "linspace"
        if spacing == "leading":
            return [i * (train // n) + offset for i in reversed(range(n))]
        if spacing == "trailing":
            return [int(t) - 1 for t in np.round(np.arange(train, 0, -train / n))]
        if spacing == "linspace":
            return [int(t) for t in np.round(np.linspace(0, train - 1, n))[::-1]]
        raise FileError(f"timestep_spacing {spacing}: not leading, trailing or linspace")

    def alpha(self, t):
        if t >= 0:
            return float(self.table[t])
        to_one = self.config["set_alpha_to_one"]
        if mutant("final-alpha"):
            to_one = not to_one
        return 1.0 if to_one else float(self.table[0])

    def scaled(self, x, t):
        """What the network gets."""
        return x

    def step(self, x, output, t):
        """From x at t to x at t - train/steps. x0, eps: the picture and the noise foreseen."""
        back = self.train // self.steps
        if mutant("step-back-too-short"):
            back -= 1
        a, b = self.alpha(t), self.alpha(t - back)
        kind = self.config["prediction_type"]
        if mutant("v-for-epsilon") and kind == "epsilon":
            kind = "v_prediction"
        elif mutant("epsilon-for-v") and kind == "v_prediction":
            kind = "epsilon"
        if kind == "epsilon":
            eps = output
            x0 = (x - (1 - a if mutant("sigma-squared") else (1 - a) ** 0.5) * eps) / a**0.5
        elif kind == "sample":
            x0 = output
            eps = output if mutant("direction-from-sample") else (x - a**0.5 * output) / (1 - a) ** 0.5
        else:
            x0 = a**0.5 * x - (1 - a) ** 0.5 * output
            if mutant("v-sign"):
                x0 = a**0.5 * x + (1 - a) ** 0.5 * output
            eps = a**0.5 * output + (1 - a) ** 0.5 * x
        if self.config["clip_sample"] or mutant("clip-sample"):
            limit = self.config.get("clip_sample_range", 1)
            x0 = np.clip(x0, -limit, limit)
        if mutant("eta-one"):
            sigma = ((1 - b) / (1 - a) * (1 - a / b)) ** 0.5
            noise = np.random.RandomState(t).standard_normal(x.shape).astype(x.dtype)
            return b**0.5 * x0 + (1 - b - sigma**2) ** 0.5 * eps + sigma * noise
        return b**0.5 * x0 + (1 - b) ** 0.5 * eps


class Euler:
    """Latents x0 + sigma noise. sigmas: float32 numbers, square roots correctly rounded."""

    def __init__(self, config, steps):
        table = alphas_cumprod(config)
        levels = np.sqrt((np.float32(1) - table) / table)
        self.kind = config["prediction_type"]
        self.timesteps = Ddim(config, steps).timesteps
        self.sigmas = [float(levels[t]) for t in self.timesteps] + [0.0]
        largest = self.sigmas[0]
        leading = config["timestep_spacing"] == "leading"
        self.start = (largest**2 + 1) ** 0.5 if leading else largest
        if mutant("euler-start-of-sigma"):
            self.start = largest
        if mutant("euler-start-unscaled"):
            self.start = 1.0

    def pair(self, t):
        k = self.timesteps.index(t)
        return self.sigmas[k], self.sigmas[k + 1]

    def scaled(self, x, t):
        if mutant("euler-input-unscaled"):
            return x
        return (x / (self.pair(t)[0] ** 2 + 1) ** 0.5).astype(x.dtype)

    def step(self, x, output, t):
        sigma, below = self.pair(t)
        if mutant("euler-step-of-scaled"):
            x = self.scaled(x, t)
        if self.kind == "epsilon":
            x0 = x - sigma * output
        else:
            x0 = x / (sigma**2 + 1) - output * (sigma / (sigma**2 + 1) ** 0.5)
        return (x + (below - sigma) * (x - x0) / sigma).astype(x.dtype)


def guide(batch, scale):
    """batch: unconditional, then conditional."""
    unconditional, conditional = batch[:1], batch[1:]
    if mutant("guidance-scale-of-others"):
        scale = 5.0
    if mutant("guidance-order"):
        unconditional, conditional = conditional, unconditional
    if mutant("guidance-formula"):  # the paper's: the conditional prediction at scale 0
        return conditional + scale * (conditional - unconditional)
    guided = unconditional + scale * (conditional - unconditional)
    if mutant("guidance-rescaled"):  # guidance_rescale of 0.7, which nobody asked for
        guided = guided * (0.7 * conditional.std() / guided.std() + 0.3)
    if mutant("guidance-three-channels"):
        guided = np.concatenate([guided[:, :3], conditional[:, 3:]], 1)
    return guided.astype(batch.dtype)
