"""torch's random numbers and the DDIM sampler."""

import ctypes
import math

import numpy as np

from .library import Error

BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")
SPACINGS = ("leading", "trailing", "linspace")
PREDICTIONS = ("epsilon", "v_prediction", "sample")
NAMES = {"beta_schedule": BETA_SCHEDULES, "timestep_spacing": SPACINGS, "prediction_type": PREDICTIONS}
FLAGS = ("set_alpha_to_one", "clip_sample", "rescale_betas_zero_snr")


class Settings(ctypes.Structure):
    _fields_ = [("num_train_timesteps", ctypes.c_int), ("beta_start", ctypes.c_double),
                ("beta_end", ctypes.c_double), ("beta_schedule", ctypes.c_int),
                ("timestep_spacing", ctypes.c_int), ("steps_offset", ctypes.c_int),
                ("set_alpha_to_one", ctypes.c_int), ("clip_sample", ctypes.c_int),
                ("clip_sample_range", ctypes.c_double), ("prediction_type", ctypes.c_int),
                ("rescale_betas_zero_snr", ctypes.c_int)]


class Generator:
    """torch.Generator().manual_seed(seed) on the CPU: draws go on where the last one stopped."""

    def __init__(self, ref, seed):
        if not 0 <= seed < 2**64:
            raise Error(f"seed {seed}: expected 0 to 2^64 - 1")
        self._ref = ref
        self._handle = ctypes.c_void_p()
        ref.call("generator_open", ctypes.byref(self._handle), seed)

    def __del__(self):
        if getattr(self, "_handle", None):
            self._ref.library.mole_generator_close(self._handle)

    def _draw(self, name, shape, dtype):
        dtype = np.dtype(dtype)
        if dtype not in (np.float32, np.float64):
            raise Error(f"dtype {dtype}: expected float32 or float64")
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        out = np.empty(shape, dtype)
        if out.size:
            self._ref.call(f"{name}_f{8 * dtype.itemsize}", out, out.size, self._handle)
        return out

    def rand(self, shape, dtype=np.float32):
        """torch.rand(shape, dtype=dtype, generator=self)"""
        return self._draw("rand", shape, dtype)

    def randn(self, shape, dtype=np.float32):
        """torch.randn(shape, dtype=dtype, generator=self)"""
        return self._draw("randn", shape, dtype)


class Ddim:
    """diffusers' DDIMScheduler after set_timesteps(steps).

    settings: "authors" (what the authors' scripts end up with), "diffusers" (the class's defaults), or the
    path of a scheduler_config.json; then single fields by diffusers' names.
    """

    def __init__(self, ref, steps, settings="authors", **fields):
        self._ref, self._handle = ref, ctypes.c_void_p()
        chosen = Settings()
        if settings in ("authors", "diffusers"):
            getattr(ref.library, f"mole_ddim_settings_{settings}")(ctypes.byref(chosen))
        else:
            ref.call("ddim_settings_read", ctypes.byref(chosen), str(settings).encode())
        for name, value in fields.items():
            if name not in [field for field, _ in Settings._fields_]:
                raise Error(f"ddim: no setting {name!r}")
            if name in NAMES:
                if value not in NAMES[name]:
                    raise Error(f"{name} {value!r}: expected one of {', '.join(NAMES[name])}")
                value = NAMES[name].index(value)
            setattr(chosen, name, value)
        if steps < 1:
            raise Error(f"{steps} steps: expected at least 1")
        ref.call("ddim_open", ctypes.byref(self._handle), ctypes.byref(chosen), steps)
        self.settings = {field: getattr(chosen, field) for field, _ in Settings._fields_}
        for name, names in NAMES.items():
            self.settings[name] = names[self.settings[name]]
        for name in FLAGS:
            self.settings[name] = bool(self.settings[name])

    def __del__(self):
        if getattr(self, "_handle", None):
            self._ref.library.mole_ddim_close(self._handle)

    def _table(self, name, ctype):
        count = ctypes.c_size_t()
        at = getattr(self._ref.library, name)(self._handle, ctypes.byref(count))
        return np.array((ctype * count.value).from_address(at))

    @property
    def timesteps(self):
        """(steps) int32, falling"""
        return self._table("mole_ddim_timesteps", ctypes.c_int)

    @property
    def alphas_cumprod(self):
        """(num_train_timesteps) float32, torch's bits"""
        return self._table("mole_ddim_alphas_cumprod", ctypes.c_float)

    @property
    def final_alpha_cumprod(self):
        return np.float32(self._ref.library.mole_ddim_final_alpha_cumprod(self._handle))

    def step(self, k, model_output, sample, eta=0.0, noise=None):
        """DDIMScheduler.step at timesteps[k]: model_output, sample, noise of one shape -> as sample

        noise: for eta > 0, and only then.
        """
        if k < 0:
            raise Error(f"step {k}: expected 0 or more")
        ref = self._ref
        sample = ref.reals(sample, "sample")
        model_output = ref.reals(model_output, "model_output", shape=sample.shape)
        noise = None if noise is None else ref.reals(noise, "noise", shape=sample.shape)
        out = np.empty_like(sample)
        ref.call("ddim_step", out, self._handle, k, model_output, sample, out.size, eta, noise)
        return out


def randn_cuda(ref, shape, seed, offset=0, threads=0):
    """torch.randn(shape, device="cuda") of a generator with this seed and philox offset -> float32
    array, and the offset for the next call. threads: what the GPU holds at once; 0: any, up to 40960
    numbers."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    out = np.empty(shape, np.float32)
    advance = ctypes.c_uint64()
    ref.call("randn_cuda", out, math.prod(shape), seed, offset, threads, ctypes.byref(advance))
    return out, offset + advance.value
