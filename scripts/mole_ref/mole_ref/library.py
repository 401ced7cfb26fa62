"""Finding libmole, and calling it: ctypes, and nothing that computes.

SIGNATURES says how each function of mole.h is called; a test holds it to the header.
"""

import ctypes
import os
import pathlib

import numpy as np

ERROR_BYTES = 2048

# One letter per parameter: p pointer, s text, z size_t, i int or enum, d double, u uint64_t, e the
# error at the end; before the colon what is returned: i a status, v nothing, z, p, s, f float.
SIGNATURES = {
    "mole_version": "s:",
    "mole_precision": "s:",
    "mole_set_threads": "i:ze",
    "mole_matmul": "i:pppiizzzie",
    "mole_linear": "i:ppppzzzie",
    "mole_linear_scaled": "i:pppdzzzie",
    "mole_conv2d_out": "i:pzzzzze",
    "mole_conv2d": "i:ppppzzzzzzzzpie",
    "mole_group_norm": "i:ppppzzzzde",
    "mole_layer_norm": "i:ppppzzde",
    "mole_sigmoid": "i:ppze",
    "mole_silu": "i:ppze",
    "mole_gelu": "i:ppze",
    "mole_quick_gelu": "i:ppze",
    "mole_geglu": "i:ppzze",
    "mole_softmax": "i:ppzze",
    "mole_attention": "i:ppppzzzzzdiie",
    "mole_embedding": "i:pppzzze",
    "mole_timestep_embedding": "i:ppzziddie",
    "mole_upsample_nearest": "i:ppzzzzzze",
    "mole_concat": "i:pppzzzze",
    "mole_add": "i:pppze",
    "mole_add_per_channel": "i:pppzzze",
    "mole_to_channels_last": "i:ppzzze",
    "mole_from_channels_last": "i:ppzzze",
    "mole_layer": "i:pppzzie",
    "mole_generator_open": "i:pue",
    "mole_generator_close": "v:p",
    "mole_rand_f32": "i:pzpe",
    "mole_rand_f64": "i:pzpe",
    "mole_randn_f32": "i:pzpe",
    "mole_randn_f64": "i:pzpe",
    "mole_randn_cuda": "i:pzuuzpe",
    "mole_ddim_settings_authors": "v:p",
    "mole_ddim_settings_diffusers": "v:p",
    "mole_ddim_settings_read": "i:pse",
    "mole_ddim_open": "i:ppze",
    "mole_ddim_close": "v:p",
    "mole_ddim_timesteps": "p:pp",
    "mole_ddim_alphas_cumprod": "p:pp",
    "mole_ddim_final_alpha_cumprod": "f:p",
    "mole_ddim_step": "i:ppzppzdpe",
    "mole_guidance": "i:pppdze",
    "mole_tokenizer_open": "i:pse",
    "mole_tokenizer_close": "v:p",
    "mole_tokenizer_vocab": "z:p",
    "mole_tokenizer_max_length": "z:p",
    "mole_tokenizer_encode": "i:pszpzpe",
    "mole_tokenizer_row": "i:pszppe",
    "mole_tokenizer_piece": "s:pi",
    "mole_model_open": "i:pspzse",
    "mole_model_close": "v:p",
    "mole_model_info": "v:pp",
    "mole_model_tokenizer": "p:p",
    "mole_model_set": "i:piie",
    "mole_model_watch": "i:pppie",
    "mole_model_encode_text": "i:pppzze",
    "mole_model_unet": "i:pppdpzzzze",
    "mole_model_decode": "i:pppzzze",
}

CTYPES = {
    "p": ctypes.c_void_p,
    "s": ctypes.c_char_p,
    "z": ctypes.c_size_t,
    "i": ctypes.c_int,
    "d": ctypes.c_double,
    "f": ctypes.c_float,
    "u": ctypes.c_uint64,
    "e": ctypes.c_char_p,
    "v": None,
}


class Error(ValueError):
    """What the library refused; the message says why."""


def candidates(precision):
    """Where a shared library may be, best first: paths, and names for the system's loader."""
    name = f"libmole-{precision}.so"
    named = os.environ.get("MOLE_LIB")
    if named:
        path = pathlib.Path(named)
        return [path / name if path.is_dir() else path]
    tree = pathlib.Path(__file__).resolve().parents[3]
    ours = (tree / "ref/api/mole.h").is_file()
    built = (tree / "build").glob(f"*/lib/{name}") if ours else []
    newest = sorted((path for path in built if "sanitize" not in str(path)),
                    key=lambda path: path.stat().st_mtime, reverse=True)
    return [*newest, f"{name}.0", pathlib.Path("/usr/local/lib") / name]


def find(precision="f64", path=None):
    """The loaded library: `path`, or $MOLE_LIB (a file, or a folder), or the newest one built in the
    source tree around this package, or an installed one."""
    if precision not in ("f32", "f64"):
        raise ValueError(f"precision {precision!r}: expected 'f32' or 'f64'")
    name = f"libmole-{precision}.so"
    if path is not None:
        path = pathlib.Path(path)
        tried = [path / name if path.is_dir() else path]
    else:
        tried = candidates(precision)
    reasons = []
    for candidate in tried:
        try:
            # Both libraries have the same names: RTLD_LOCAL keeps them apart.
            library = ctypes.CDLL(str(candidate), mode=ctypes.RTLD_LOCAL)
        except OSError as reason:
            reasons.append(f"  {candidate}: {reason}")
            continue
        check(library, precision, candidate)
        return library
    raise OSError(f"{name} is not to be had (make builds it; MOLE_LIB names it):\n" + "\n".join(reasons))


def check(library, precision, path):
    """Give every function its types; refuse a library of another kind."""
    for function, letters in SIGNATURES.items():
        try:
            f = getattr(library, function)
        except AttributeError:
            raise OSError(f"{path}: has no {function}; is it another version of libmole?") from None
        returned, parameters = letters.split(":")
        f.restype = CTYPES[returned]
        f.argtypes = [CTYPES[letter] for letter in parameters]
    found = library.mole_precision().decode()
    if found != precision:
        raise OSError(f"{path}: computes in {found}, expected {precision}")


def pointer(x):
    """The address of an array's numbers; None stays None."""
    return None if x is None else x.ctypes.data


class Caller:
    """A library, and the way to call it."""

    def __init__(self, precision, path=None):
        self.library = find(precision, path)
        self.precision = precision
        self.dtype = np.dtype(np.float64 if precision == "f64" else np.float32)

    def call(self, name, *arguments):
        """mole_<name>(arguments, error); raises Error when it refuses."""
        error = ctypes.create_string_buffer(ERROR_BYTES)
        plain = [pointer(a) if isinstance(a, np.ndarray) else a for a in arguments]
        if getattr(self.library, "mole_" + name)(*plain, error):
            raise Error(error.value.decode(errors="replace"))

    def reals(self, x, name, ndim=None, shape=None):
        """x as a row-major array of the library's numbers, with `ndim` dimensions or of `shape`, in
        which None stands for any size."""
        if not isinstance(x, np.ndarray):
            x = np.asarray(x)
        if x.dtype.kind not in "fiub":
            raise TypeError(f"{name} holds {x.dtype}, expected real numbers")
        # Unlike ascontiguousarray, this keeps a scalar a scalar.
        x = np.asarray(x, dtype=self.dtype, order="C")
        if ndim is not None and x.ndim != ndim:
            raise Error(f"{name} is {x.shape}: expected {ndim} dimensions")
        if shape is not None and (x.ndim != len(shape) or any(
                want is not None and want != have for want, have in zip(shape, x.shape))):
            expected = ", ".join("any" if size is None else str(size) for size in shape)
            raise Error(f"{name} is {x.shape}: expected ({expected})")
        return x

    def empty(self, *shape):
        return np.empty(shape, self.dtype)
