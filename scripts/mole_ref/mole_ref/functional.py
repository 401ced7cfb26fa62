"""The operations, named and shaped as in torch.nn.functional where torch has them.

Arrays are anything NumPy takes; results are new arrays of the reference's type (`ref.dtype`). Letters: B
batch, T query tokens, S context tokens, C channels, H height, W width, M rows, N columns, K summed length.
`how` is "blas" or "plain" (sums in index order, in double); None: `ref.how`.
"""

import ctypes
import math

import numpy as np

from .library import Caller, Error

HOW = {"blas": 0, "plain": 1}


class Padding(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("left", "right", "top", "bottom")]


def sides(padding):
    """(left, right, top, bottom) from one number, torch's (height, width), or all four."""
    sizes = (padding,) if isinstance(padding, int) else tuple(padding)
    if len(sizes) not in (1, 2, 4) or any(size < 0 for size in sizes):
        raise Error(f"padding {padding}: expected one, two or four numbers >= 0")
    if len(sizes) == 1:
        return sizes * 4
    if len(sizes) == 2:
        return (sizes[1], sizes[1], sizes[0], sizes[0])
    return sizes


class Functional(Caller):
    """Operations on arrays."""

    def __init__(self, precision, path=None):
        super().__init__(precision, path)
        self.how = "blas"

    def _how(self, how):
        how = self.how if how is None else how
        if how not in HOW:
            raise Error(f"how {how!r}: expected 'blas' or 'plain'")
        return HOW[how]

    # ---- matrix products

    def matmul(self, a, b, transpose_b=False, how=None):
        """a (..., K) @ b (K, N), or b.T with b (N, K) -> (..., N)"""
        b = self.reals(b, "b", ndim=2)
        N, K = b.shape if transpose_b else b.shape[::-1]
        a = self.reals(a, "a")
        if a.ndim < 1 or a.shape[-1] != K:
            raise Error(f"matmul: a {a.shape} and b {b.shape} do not fit")
        out = self.empty(*a.shape[:-1], N)
        self.call("matmul", out, a, b, transpose_b, 0, out.size // N, N, K, self._how(how))
        return out

    def linear(self, x, weight, bias=None, how=None):
        """x (..., K), weight (N, K), bias (N) or None -> (..., N)"""
        weight = self.reals(weight, "weight", ndim=2)
        N, K = weight.shape
        x = self.reals(x, "x")
        if x.ndim < 1 or x.shape[-1] != K:
            raise Error(f"linear: x {x.shape} and weight {weight.shape} do not fit")
        bias = None if bias is None else self.reals(bias, "bias", shape=(N,))
        out = self.empty(*x.shape[:-1], N)
        self.call("linear", out, x, weight, bias, out.size // N, K, N, self._how(how))
        return out

    def linear_scaled(self, x, weight, scale, how=None):
        """scale * linear(x, weight), with how="plain" rounded once"""
        weight = self.reals(weight, "weight", ndim=2)
        N, K = weight.shape
        x = self.reals(x, "x")
        if x.ndim < 1 or x.shape[-1] != K:
            raise Error(f"linear_scaled: x {x.shape} and weight {weight.shape} do not fit")
        out = self.empty(*x.shape[:-1], N)
        self.call("linear_scaled", out, x, weight, scale, out.size // N, K, N, self._how(how))
        return out

    # ---- convolution

    def conv2d(self, x, weight, bias=None, stride=1, padding=0, how=None):
        """x (B, Ci, H, W), weight (Co, Ci, kh, kw), bias (Co) or None -> (B, Co, Ho, Wo)

        padding: one number, (height, width) as in torch, or (left, right, top, bottom).
        """
        x = self.reals(x, "x", ndim=4)
        B, Ci, H, W = x.shape
        weight = self.reals(weight, "weight", shape=(None, Ci, None, None))
        Co, _, kh, kw = weight.shape
        bias = None if bias is None else self.reals(bias, "bias", shape=(Co,))
        left, right, top, bottom = sides(padding)
        Ho, Wo = self._conv2d_out(H, top, bottom, kh, stride), self._conv2d_out(W, left, right, kw, stride)
        out = self.empty(B, Co, Ho, Wo)
        self.call("conv2d", out, x, weight, bias, B, Ci, H, W, Co, kh, kw, stride,
                  ctypes.byref(Padding(left, right, top, bottom)), self._how(how))
        return out

    def _conv2d_out(self, n, before, after, kernel, stride):
        if stride < 1:
            raise Error(f"conv2d: stride {stride}: expected at least 1")
        size = ctypes.c_size_t()
        self.call("conv2d_out", ctypes.byref(size), n, before, after, kernel, stride)
        return size.value

    # ---- normalisation

    def group_norm(self, x, weight, bias, groups, eps):
        """x (B, C, ...), weight (C), bias (C) -> as x; over the C / groups channels of a group and all
        positions; the variance divides by their number"""
        x = self.reals(x, "x")
        if x.ndim < 2:
            raise Error(f"group_norm: x is {x.shape}: expected at least 2 dimensions")
        B, C = x.shape[:2]
        weight, bias = self.reals(weight, "weight", shape=(C,)), self.reals(bias, "bias", shape=(C,))
        out = np.empty_like(x)
        self.call("group_norm", out, x, weight, bias, B, C, math.prod(x.shape[2:]), groups, eps)
        return out

    def layer_norm(self, x, weight, bias, eps):
        """x (..., C), weight (C), bias (C) -> as x"""
        x = self.reals(x, "x")
        C = x.shape[-1] if x.ndim else 0
        weight, bias = self.reals(weight, "weight", shape=(C,)), self.reals(bias, "bias", shape=(C,))
        out = np.empty_like(x)
        self.call("layer_norm", out, x, weight, bias, x.size // max(C, 1), C, eps)
        return out

    # ---- activations

    def _each(self, name, x):
        x = self.reals(x, "x")
        out = np.empty_like(x)
        self.call(name, out, x, x.size)
        return out

    def sigmoid(self, x):
        """1 / (1 + exp(-x)), any shape"""
        return self._each("sigmoid", x)

    def silu(self, x):
        """x sigmoid(x), any shape"""
        return self._each("silu", x)

    def gelu(self, x):
        """x/2 (1 + erf(x / sqrt 2)), any shape: torch's approximate="none" """
        return self._each("gelu", x)

    def quick_gelu(self, x):
        """x sigmoid(1.702 x), any shape: transformers' QuickGELUActivation"""
        return self._each("quick_gelu", x)

    def geglu(self, x):
        """x (..., 2N): value, then gate -> value * gelu(gate) (..., N)"""
        x = self.reals(x, "x")
        if x.ndim < 1 or x.shape[-1] % 2:
            raise Error(f"geglu: x is {x.shape}: expected an even last dimension")
        N = x.shape[-1] // 2
        out = self.empty(*x.shape[:-1], N)
        self.call("geglu", out, x, out.size // max(N, 1), N)
        return out

    # ---- attention

    def softmax(self, x):
        """x (..., N) -> as x, over the last dimension"""
        x = self.reals(x, "x")
        N = x.shape[-1] if x.ndim else 0
        out = np.empty_like(x)
        self.call("softmax", out, x, x.size // max(N, 1), N)
        return out

    def attention(self, q, k, v, heads, scale=None, causal=False, how=None):
        """q (B, T, heads*D), k and v (B, S, heads*D) -> as q; a head is D neighbouring channels

        scale: None stands for 1 / sqrt(D), as in torch. causal: s <= t only, T = S.
        """
        q = self.reals(q, "q", ndim=3)
        B, T, C = q.shape
        k = self.reals(k, "k", shape=(B, None, C))
        S = k.shape[1]
        v = self.reals(v, "v", shape=(B, S, C))
        if heads < 1 or C % heads:
            raise Error(f"attention: {heads} heads do not divide {C} channels")
        D = C // heads
        out = np.empty_like(q)
        self.call("attention", out, q, k, v, B, T, S, heads, D,
                  1 / math.sqrt(D) if scale is None else scale, causal, self._how(how))
        return out

    def scaled_dot_product_attention(self, q, k, v, is_causal=False, scale=None, how=None):
        """The same in torch's shapes: q (B, heads, T, D), k and v (B, heads, S, D) -> as q"""
        q, k, v = (self.reals(x, name, ndim=4) for x, name in ((q, "q"), (k, "k"), (v, "v")))
        B, heads, T, D = q.shape
        beside = [x.transpose(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1) for x in (q, k, v)]
        out = self.attention(*beside, heads, scale, is_causal, how)
        return np.ascontiguousarray(out.reshape(B, T, heads, D).transpose(0, 2, 1, 3))

    # ---- tables, time, space

    def embedding(self, ids, weight):
        """ids (...) whole numbers below V, weight (V, C) -> (..., C)"""
        ids = whole(ids, "ids")
        weight = self.reals(weight, "weight", ndim=2)
        V, C = weight.shape
        out = self.empty(*ids.shape, C)
        self.call("embedding", out, ids, weight, ids.size, V, C)
        return out

    def timestep_embedding(self, timesteps, dim, flip_sin_to_cos, freq_shift, max_period=10000,
                           angles="f64"):
        """timesteps (B) -> (B, dim): diffusers' get_timestep_embedding

        angles "f32": rounded to float32 at each step, as diffusers does; "f64": the truth.
        """
        if angles not in ("f32", "f64"):
            raise Error(f"angles {angles!r}: expected 'f32' or 'f64'")
        t = np.ascontiguousarray(timesteps, np.float64)
        if t.ndim != 1:
            raise Error(f"timesteps is {t.shape}: expected 1 dimension")
        out = self.empty(t.size, dim)
        self.call("timestep_embedding", out, t, t.size, dim, flip_sin_to_cos, freq_shift, max_period,
                  angles == "f32")
        return out

    def upsample_nearest(self, x, size):
        """x (B, C, H, W) -> (B, C, *size): interpolate(x, size=size, mode="nearest")"""
        x = self.reals(x, "x", ndim=4)
        out = self.empty(*x.shape[:2], *size)
        self.call("upsample_nearest", out, x, *x.shape, *size)
        return out

    def concat(self, tensors, axis=1):
        """torch.cat(tensors, dim=axis): tensors that are equal in every other dimension"""
        tensors = [self.reals(x, f"tensors[{i}]") for i, x in enumerate(tensors)]
        if not tensors:
            raise Error("concat: no tensors")
        out = tensors[0]
        for i, x in enumerate(tensors[1:], 1):
            if not -out.ndim <= axis < out.ndim:
                raise Error(f"concat: axis {axis} of {out.shape}")
            at = axis % out.ndim
            if out.shape[:at] + out.shape[at + 1:] != x.shape[:at] + x.shape[at + 1:] or x.ndim != out.ndim:
                raise Error(f"concat: tensors[{i}] is {x.shape}, beside {out.shape} along {axis}")
            before, after = math.prod(x.shape[:at]), math.prod(x.shape[at + 1:])
            joined = self.empty(*out.shape[:at], out.shape[at] + x.shape[at], *out.shape[at + 1:])
            self.call("concat", joined, out, x, before, out.shape[at], x.shape[at], after)
            out = joined
        return out

    def add(self, a, b):
        """a + b, of one shape"""
        a = self.reals(a, "a")
        b = self.reals(b, "b", shape=a.shape)
        out = np.empty_like(a)
        self.call("add", out, a, b, a.size)
        return out

    def add_per_channel(self, x, y):
        """x (B, C, ...) + y (B, C) -> as x"""
        x = self.reals(x, "x")
        y = self.reals(y, "y", shape=x.shape[:2])
        out = np.empty_like(x)
        self.call("add_per_channel", out, x, y, *x.shape[:2], math.prod(x.shape[2:]))
        return out

    def to_channels_last(self, x):
        """x (B, C, H, W) -> (B, H, W, C)"""
        x = self.reals(x, "x", ndim=4)
        B, C, H, W = x.shape
        out = self.empty(B, H, W, C)
        self.call("to_channels_last", out, x, B, C, H * W)
        return out

    def from_channels_last(self, x):
        """x (B, H, W, C) -> (B, C, H, W)"""
        x = self.reals(x, "x", ndim=4)
        B, H, W, C = x.shape
        out = self.empty(B, C, H, W)
        self.call("from_channels_last", out, x, B, C, H * W)
        return out

    def guidance(self, uncond, cond, scale):
        """uncond + scale (cond - uncond), of one shape"""
        uncond = self.reals(uncond, "uncond")
        cond = self.reals(cond, "cond", shape=uncond.shape)
        out = np.empty_like(uncond)
        self.call("guidance", out, uncond, cond, scale, out.size)
        return out


def whole(x, name):
    """x as a row-major int32 array; what is no whole number, or does not fit, is refused."""
    x = np.asarray(x)
    if x.dtype.kind not in "iu" and not (x.dtype.kind == "f" and np.all(x == np.floor(x))):
        raise TypeError(f"{name} holds {x.dtype}, expected whole numbers")
    if x.size and (x.min() < -2**31 or x.max() >= 2**31):
        raise Error(f"{name} holds numbers that do not fit 32 bits")
    return np.asarray(x, dtype=np.int32, order="C")
