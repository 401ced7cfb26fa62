"""Golden data of the sampler: torch's random numbers, Philox, DDIM's and Euler's tables and steps."""

import contextlib
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler
from diffusers.schedulers import scheduling_euler_discrete

from golden import box_muller
from golden.calls import Calls
from golden.formats import Case, dump_json, made_with
from golden.seeds import normal

SIZES = (1, 2, 3, 8, 15, 16, 17, 24, 31, 32, 33, 48, 100, 255, 256, 4096, 16384)
SEEDS = (0, 1, 42, 1234, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 5, 2**40 + 123)
SEQUENCES = ((3, 20, 1, 16), (1, 1, 1), (15, 16, 2), (7, 17, 33, 5))
DOUBLES = (1, 2, 15, 16, 17, 33, 100)


def shortened(values):
    """What is stored of a long vector: the first 32, the last 32, every 97th value."""
    n = len(values)
    places = [*range(32), *range(n - 32, n), *range(0, n, 97)]
    return values[torch.tensor(places)]


def check_kernel(seed, n):
    """The description of torch's kernel, against torch."""
    torch.manual_seed(seed)
    found = torch.randn(n).numpy()
    torch.manual_seed(seed)
    expected = box_muller.normals(torch.rand(n).numpy())
    same = (found.view(np.int32) == expected.view(np.int32)).all()
    return same


def randn(out):
    """torch.manual_seed(s); torch.randn(n) and torch.rand(n), in float32 and a few in float64."""
    if not all([check_kernel(seed, 16384) for seed in SEEDS]):
        raise SystemExit("golden: torch.randn does not give the bits of box_muller.py: not written")
    about = "torch.manual_seed(seed); function(n): the CPU generator; see docs/golden-format.md."
    case = Case(Path(out) / "sampler" / "randn", "random", about)
    vectors = []

    def add(function, seed, sizes, dtype):
        torch.manual_seed(seed)
        values = torch.cat([getattr(torch, function)(n, dtype=dtype) for n in sizes])
        kind = str(dtype).removeprefix("torch.")
        name = f"{function}/{kind}/{seed}/{'+'.join(map(str, sizes))}"
        long = len(values) > 1000
        row = {"id": name, "function": function, "dtype": kind, "seed": seed, "sizes": list(sizes)}
        row["stored"] = "first 32, last 32, every 97th" if long else "all"
        row["tensor"] = case.tensor(name, shortened(values) if long else values)
        vectors.append(row)

    for function in ("randn", "rand"):
        for seed in SEEDS:
            for n in SIZES:
                add(function, seed, (n,), torch.float32)
        for seed in (0, 42):
            for sizes in SEQUENCES:
                add(function, seed, sizes, torch.float32)
            for n in DOUBLES:
                add(function, seed, (n,), torch.float64)
    case.write(vectors=vectors)


# Known answers of Philox 4x32-10 (counter, key, result): Random123, tests/kat_vectors, by Salmon,
# Moraes, Dror and Shaw, who published the generator; the third takes the digits of pi.
PHILOX = [
    (["00000000"] * 4, ["00000000"] * 2, ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]),
    (["ffffffff"] * 4, ["ffffffff"] * 2, ["408f276d", "41c83b0e", "a20bc7c6", "6d5451fd"]),
    (
        ["243f6a88", "85a308d3", "13198a2e", "03707344"],
        ["a4093822", "299f31d0"],
        ["d16cfe09", "94fdcceb", "5001e420", "24126ea1"],
    ),
]


def philox_4x32_10(counter, key):
    """The generator of Salmon et al. 2011, section 4, on Python's integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        low = 0xFFFFFFFF
        c = [(b >> 32) ^ c[1] ^ k[0], b & low, (a >> 32) ^ c[3] ^ k[1], a & low]
        k = [(k[0] + 0x9E3779B9) & low, (k[1] + 0xBB67AE85) & low]
    return c


def philox(out):
    """Published known answers, and more blocks by a few lines that agree with them."""

    def words(values):
        return [f"{v:08x}" for v in values]

    rows = []
    for counter, key, result in PHILOX:
        numbers = [[int(w, 16) for w in part] for part in (counter, key)]
        assert words(philox_4x32_10(*numbers)) == result
        row = {"source": "Random123", "counter": counter, "key": key, "result": result}
        rows.append(row)
    for seed in (0, 42, 2**32 + 5):
        key = [seed & 0xFFFFFFFF, seed >> 32]
        for counter in ([0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [7, 0, 4095, 0], [4, 1, 2, 3]):
            result = words(philox_4x32_10(counter, key))
            row = {"source": "computed", "counter": words(counter), "key": words(key)}
            rows.append({**row, "result": result})
    folder = Path(out) / "sampler"
    folder.mkdir(parents=True, exist_ok=True)
    about = (
        "Philox 4x32-10: counter (4 words) and key (2 words) to 4 words, in hexadecimal. source "
        "Random123: the authors' published known answers (tests/kat_vectors). source computed: by "
        "sampler.py, which gives those too. No number here was made on a GPU."
    )
    head = {"format": "mole-golden-philox", "version": 1, "about": about}
    dump_json(folder / "philox.json", {**head, "blocks": rows})


STEPS = (1, 2, 3, 4, 5, 10, 20, 25, 30, 50, 100, 999, 1000)
SCHEDULES = {
    "scaled_linear": {"beta_start": 0.00085, "beta_end": 0.012},
    "linear": {"beta_start": 0.0001, "beta_end": 0.02},
    "squaredcos_cap_v2": {},
}


@contextlib.contextmanager
def exact_roots():
    """Square roots correctly rounded, which torch's float32 ones are not, nor the same on every machine."""
    own = torch.Tensor.sqrt
    torch.Tensor.sqrt = lambda x: torch.from_numpy(np.sqrt(x.numpy()))
    try:
        yield
    finally:
        torch.Tensor.sqrt = own


def ddim_levels(settings):
    """A DDIMScheduler whose levels have correctly rounded roots; without zero terminal SNR they have none."""
    with exact_roots():
        exact = DDIMScheduler(**settings)
    off = (exact.alphas_cumprod - DDIMScheduler(**settings).alphas_cumprod).abs()
    assert off.max() <= (1e-6 if settings.get("rescale_betas_zero_snr") else 0)
    return exact


ZERO_SNR = {
    "rescale_betas_zero_snr": True,
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
}


def ddim_tables(out):
    """Timesteps as integers, alphas_cumprod as the bits of its float32 values."""
    rows = []
    for spacing in ("leading", "trailing", "linspace"):
        for offset in (0, 1):
            if spacing != "leading" and offset:
                continue  # diffusers uses steps_offset for "leading" alone
            for steps in STEPS:
                scheduler = DDIMScheduler(timestep_spacing=spacing, steps_offset=offset)
                scheduler.set_timesteps(steps)
                row = {"timestep_spacing": spacing, "steps_offset": offset, "steps": steps}
                rows.append({**row, "timesteps": scheduler.timesteps.tolist()})
    tables = []
    rescaled = [(name, {**SCHEDULES[name], **ZERO_SNR}) for name in ("scaled_linear", "linear")]
    for name, betas in [*SCHEDULES.items(), *rescaled]:
        scheduler = ddim_levels({"beta_schedule": name, **betas})
        bits = scheduler.alphas_cumprod.numpy().view(np.uint32)
        row = {"beta_schedule": name, "num_train_timesteps": 1000, **betas}
        row["final_alpha_cumprod"] = {
            "set_alpha_to_one": "3f800000",
            "otherwise": f"{bits[0]:08x}",
        }
        rows_of_bits = " ".join(f"{b:08x}" for b in bits)
        tables.append({**row, "alphas_cumprod": rows_of_bits})
    folder = Path(out) / "sampler"
    folder.mkdir(parents=True, exist_ok=True)
    about = (
        "DDIM's timesteps, and alphas_cumprod as 1000 float32 bit patterns in hexadecimal. "
        "steps_offset acts with leading spacing only; timesteps may leave the table (1000). The square "
        "roots of rescale_betas_zero_snr are correctly rounded; with torch's own a level differs by 1e-6 "
        "at most."
    )
    head = {"format": "mole-golden-ddim", "version": 1, "about": about, "made_with": made_with()}
    dump_json(folder / "ddim-tables.json", {**head, "tables": tables, "timesteps": rows})


AUTHORS = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "prediction_type": "epsilon",
    "set_alpha_to_one": True,
    "clip_sample": False,
}


def ddim_step(out):
    """One step of DDIM with every setting that changes it."""
    about = (
        "One DDIM step. The float32 table is the specification; float64 widens its values and "
        "computes on in float64."
    )
    calls = Calls(out, "ddim_step", about, room="sampler")
    v = {"prediction_type": "v_prediction"}
    for name, steps, t, eta, changes in [
        ("first", 50, 981, 0.0, {}),
        ("middle", 50, 501, 0.0, {}),
        ("last", 50, 1, 0.0, {}),
        ("last-alpha-of-table", 50, 1, 0.0, {"set_alpha_to_one": False}),
        ("few-steps", 5, 801, 0.0, {}),
        ("one-step", 1, 1, 0.0, {}),
        ("trailing", 4, 999, 0.0, {"timestep_spacing": "trailing"}),
        ("v-first", 50, 981, 0.0, v),
        ("v-last", 50, 1, 0.0, v),
        ("sample", 50, 501, 0.0, {"prediction_type": "sample"}),
        ("clip", 50, 501, 0.0, {"clip_sample": True}),
        ("clip-range", 50, 501, 0.0, {"clip_sample": True, "clip_sample_range": 0.5}),
        ("eta-half", 50, 501, 0.5, {}),
        ("eta-one", 50, 501, 1.0, {}),
        ("eta-one-first", 50, 981, 1.0, {}),
        ("eta-one-last", 50, 1, 1.0, {}),
        ("eta-one-last-alpha-of-table", 50, 1, 1.0, {"set_alpha_to_one": False}),
        ("eta-v", 20, 451, 0.7, v),
        ("eta-clip", 20, 451, 0.7, {"clip_sample": True}),
        ("linear", 50, 501, 0.0, {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}),
        ("cosine", 50, 501, 0.0, {"beta_schedule": "squaredcos_cap_v2"}),
        ("zero-snr-first", 4, 999, 0.0, ZERO_SNR),
        ("zero-snr-middle", 4, 499, 0.0, ZERO_SNR),
        ("zero-snr-last", 4, 249, 0.0, ZERO_SNR),
        ("zero-snr-sample", 4, 999, 0.0, {**ZERO_SNR, "prediction_type": "sample"}),
    ]:
        settings = {**AUTHORS, **changes}
        tensors = {
            "sample": normal(f"ddim/{name}/sample", (2, 4, 2, 3), 1.5),
            "model_output": normal(f"ddim/{name}/model_output", (2, 4, 2, 3)),
            "variance_noise": normal(f"ddim/{name}/noise", (2, 4, 2, 3)) if eta > 0 else None,
        }

        def function(sample, model_output, variance_noise):
            scheduler = ddim_levels(settings)
            scheduler.set_timesteps(steps)
            scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(sample.dtype)
            scheduler.final_alpha_cumprod = scheduler.final_alpha_cumprod.to(sample.dtype)
            result = scheduler.step(
                model_output, t, sample, eta=eta, variance_noise=variance_noise
            )
            return {
                "prev_sample": result.prev_sample,
                "pred_original_sample": result.pred_original_sample,
            }

        attrs = {"timestep": t, "num_inference_steps": steps, "eta": eta, **settings}
        calls.add(name, function, tensors, attrs)
    calls.write()


def hex_of(values):
    return " ".join(f"{b:08x}" for b in np.asarray(values, np.float32).view(np.uint32))


EULER = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def exact_sigmas(scheduler):
    """The scheduler's sigmas with correctly rounded square roots, which torch's float32 sqrt has not: one in
    five differs in its last bit, and not in the same place on every machine."""
    alphas = scheduler.alphas_cumprod.numpy()
    table = np.sqrt((np.float32(1) - alphas) / alphas)
    sigmas = np.interp(scheduler.timesteps.numpy(), np.arange(len(table)), table)
    last = table[0] if scheduler.config.final_sigmas_type == "sigma_min" else 0
    sigmas = np.concatenate([sigmas, [last]]).astype(np.float32)
    off = np.abs(sigmas - scheduler.sigmas.numpy())
    assert (off <= np.spacing(sigmas)).all()
    return torch.from_numpy(sigmas)


def euler_tables(out):
    """Timesteps, sigmas and init_noise_sigma as the bits of their float32 values."""
    rows = []
    zero = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
    cases = [
        (steps, {"timestep_spacing": spacing, **EULER})
        for spacing in ("leading", "trailing", "linspace")
        for steps in (1, 2, 3, 5, 7, 20, 50)
    ]
    cases += [
        (20, {"timestep_spacing": "leading", "steps_offset": 1, **EULER}),
        (50, {"timestep_spacing": "leading", "steps_offset": 1, **EULER}),
        (20, {"timestep_spacing": "trailing", "final_sigmas_type": "sigma_min", **EULER}),
        (20, {"timestep_spacing": "linspace", "final_sigmas_type": "sigma_min", **EULER}),
        (20, {"timestep_spacing": "leading", "beta_schedule": "linear"}),
        (20, {"timestep_spacing": "linspace", "beta_schedule": "squaredcos_cap_v2"}),
        (7, {"timestep_spacing": "trailing", **EULER, **zero}),
    ]
    for steps, settings in cases:
        scheduler = EulerDiscreteScheduler(**settings)
        scheduler.set_timesteps(steps)
        scheduler.sigmas = exact_sigmas(scheduler)
        row = {"num_inference_steps": steps, **settings}
        row["timesteps"] = hex_of(scheduler.timesteps)
        row["sigmas"] = hex_of(scheduler.sigmas)
        row["init_noise_sigma"] = float(scheduler.init_noise_sigma)
        rows.append(row)
    folder = Path(out) / "sampler"
    about = (
        "EulerDiscreteScheduler's timesteps (steps) and sigmas (steps + 1) as float32 bit patterns "
        "in hexadecimal, and init_noise_sigma. Settings that are absent have diffusers' defaults. "
        "The square roots of the sigmas are correctly rounded; torch's own differ from them by at "
        "most one last bit."
    )
    head = {"format": "mole-golden-euler", "version": 1, "about": about, "made_with": made_with()}
    dump_json(folder / "euler-tables.json", {**head, "tables": rows})


class AllOf:
    """torch, with another type in place of float32: the scheduler steps in that type alone."""

    def __init__(self, dtype):
        self.float32 = dtype

    def __getattr__(self, name):
        return getattr(torch, name)


def euler_step(out):
    """One step of Euler, and the scaling of the network's input, with every setting that changes them."""
    about = (
        "One Euler step. The float32 tables are the specification; float64 widens their values and "
        "computes on in float64, where EulerDiscreteScheduler.step would round to float32: the "
        "script gives it float64 in place of float32."
    )
    calls = Calls(out, "euler_step", about, room="sampler")
    v = {"prediction_type": "v_prediction"}
    for name, steps, k, changes in [
        ("first", 50, 0, {}),
        ("middle", 50, 25, {}),
        ("last", 50, 49, {}),
        ("one-step", 1, 0, {}),
        ("v-first", 50, 0, v),
        ("v-middle", 20, 10, v),
        ("v-last", 50, 49, v),
        ("sample", 20, 10, {"prediction_type": "sample"}),
        ("trailing", 4, 0, {"timestep_spacing": "trailing"}),
        ("linspace", 7, 3, {"timestep_spacing": "linspace"}),
        ("final-sigma-min", 20, 19, {"final_sigmas_type": "sigma_min"}),
    ]:
        settings = {
            **EULER,
            "timestep_spacing": "leading",
            "steps_offset": 1,
            "prediction_type": "epsilon",
            "final_sigmas_type": "zero",
            **changes,
        }
        tensors = {
            "sample": normal(f"euler/{name}/sample", (2, 4, 2, 3), 5.0),
            "model_output": normal(f"euler/{name}/model_output", (2, 4, 2, 3)),
        }

        def function(sample, model_output):
            scheduler = EulerDiscreteScheduler(**settings)
            scheduler.set_timesteps(steps)
            scheduler.sigmas = exact_sigmas(scheduler).to(sample.dtype)
            scheduler.set_begin_index(k)
            t = scheduler.timesteps[k]
            scaled = scheduler.scale_model_input(sample, t)
            scheduling_euler_discrete.torch = AllOf(sample.dtype)
            try:
                result = scheduler.step(model_output, t, sample)
            finally:
                scheduling_euler_discrete.torch = torch
            return {
                "scaled": scaled,
                "prev_sample": result.prev_sample,
                "pred_original_sample": result.pred_original_sample,
            }

        attrs = {"step": k, "num_inference_steps": steps, **settings}
        calls.add(name, function, tensors, attrs)
    calls.write()
