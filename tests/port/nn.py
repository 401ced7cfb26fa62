"""The operations, as pure functions of NumPy arrays in torch's layout.

Arrays keep their type: float32 in, float32 out, with every step between in float32 (but for erf,
which the standard library has in double only, and which is rounded once). Python floats do not
widen float32 arrays; NumPy's own scalars of type float64 would.

Every sum of products and every other long sum goes through `matmul` and `total`, and these add up
in one of several orders (ORDERS). All are correct; in float32 they differ by rounding.
"""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from mutants import mutant

# ---- sums, in several orders ---------------------------------------------------------------------

ORDERS = {
    "blas": "np.matmul: the BLAS that NumPy was built with (OpenBLAS, as a rule)",
    "numpy": "NumPy's np.add.reduce over the products: pairs of blocks of 128",
    "sequential": "k = 0, 1, 2, ..., one running sum",
    "reversed": "the same from the last k to the first",
    "pairwise": "a binary tree over all k",
    "plain": "products and sums in float64, rounded once",
}
_order = "blas"


def known(what, name, table):
    if name not in table:
        raise ValueError(f"no {what} {name}; there are {', '.join(table)}")
    return name


def use_order(name):
    global _order
    _order = known("order", name, ORDERS)


def fold(x):
    """Sum over the first axis as a binary tree."""
    while len(x) > 1:
        half = len(x) // 2
        pairs = x[:half] + x[half : 2 * half]
        x = pairs if len(x) % 2 == 0 else np.concatenate([pairs, x[2 * half :]])
    return x[0]


def matmul(a, b):
    """a (..., M, K) @ b (..., K, N)."""
    a, b = factor(a), factor(b)
    if _order == "blas":
        return np.matmul(a, b)
    if _order == "plain":
        return np.matmul(a.astype(np.float64), b.astype(np.float64)).astype(a.dtype)
    K = a.shape[-1]
    if _order in ("sequential", "reversed"):
        out = np.zeros(
            (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]), a.dtype
        )
        for k in range(K) if _order == "sequential" else reversed(range(K)):
            out += a[..., :, k, None] * b[..., None, k, :]
        return out
    rows = []  # some rows at a time: all products at once would be M * K * N numbers
    step = max(1, (1 << 22) // (K * b.shape[-1] * max(1, a[..., 0, 0].size)))
    for m in range(0, a.shape[-2], step):
        some = a[..., m : m + step, :]
        if _order == "numpy":
            rows.append(
                np.add.reduce(some[..., :, None, :] * b.swapaxes(-1, -2)[..., None, :, :], axis=-1)
            )
        else:
            products = some[..., :, :, None] * b[..., None, :, :]
            rows.append(fold(np.moveaxis(products, -2, 0)))
    return np.concatenate(rows, axis=-2)


def total(x):
    """Sum over the last axis, which stays with size 1."""
    if _order == "plain":
        return x.sum(-1, dtype=np.float64, keepdims=True).astype(x.dtype)
    if _order == "sequential":
        return np.add.accumulate(x, axis=-1)[..., -1:]
    if _order == "reversed":
        return np.add.accumulate(x[..., ::-1], axis=-1)[..., -1:]
    if _order == "pairwise":
        return fold(np.moveaxis(x, -1, 0))[..., None]
    return np.add.reduce(np.ascontiguousarray(x), axis=-1, keepdims=True)


def mean(x):
    return total(x) / x.shape[-1]


# ---- computing types -----------------------------------------------------------------------------

# A port that computes in a short type keeps weights and every operation's result in that type and
# adds up in float32; with tf32 and cudnn only factors of products are short. The arrays stay float32.
COMPUTE = {
    "f32": "float32 throughout",
    "tf32": "factors of matrix products and convolutions in 11 digits, all else float32",
    "cudnn": "the same of convolutions alone, as PyTorch has it unless told otherwise",
    "f16": "weights and results of operations in float16, sums in float32",
    "bf16": "weights and results of operations in bfloat16, sums in float32",
}
_compute = "f32"


def use_compute(name):
    global _compute
    _compute = known("computing type", name, COMPUTE)


def short(x, bits):
    """float32 numbers to the nearest with `bits` fewer digits, ties to even."""
    u = x.view(np.uint32)
    u = u + np.uint32((1 << (bits - 1)) - 1) + ((u >> np.uint32(bits)) & np.uint32(1))
    return np.where(np.isfinite(x), (u & np.uint32(0xFFFFFFFF << bits & 0xFFFFFFFF)).view(np.float32), x)


def rounded(x):
    """A result of an operation, as the computing type stores it."""
    if _compute in ("f32", "tf32", "cudnn"):
        return x
    x = np.asarray(x, np.float32, order="C")
    with np.errstate(over="ignore"):
        return x.astype(np.float16).astype(np.float32) if _compute == "f16" else short(x, 16)


def factor(x):
    """A factor of a product. Of f16 and bf16 all factors are results of operations, and short already."""
    return eleven_digits(x) if _compute == "tf32" else x


def eleven_digits(x):
    return short(np.asarray(x, order="C"), 13)


def conv_factor(x):
    """A factor of a convolution."""
    return eleven_digits(x) if _compute == "cudnn" else x


def add(x, y):
    return rounded(x + y)


# ---- layers --------------------------------------------------------------------------------------


def linear(x, weight, bias=None):
    """x (..., I), weight (O, I): out[o] = sum_i weight[o, i] x[i] + bias[o]."""
    if mutant("linear-not-transposed") and weight.shape[0] == weight.shape[1]:
        weight = weight.T
    out = matmul(x.reshape(-1, x.shape[-1]), weight.T).reshape(*x.shape[:-1], len(weight))
    return rounded(out if bias is None else out + bias)


def conv2d(x, weight, bias=None, stride=1, padding=(0, 0, 0, 0)):
    """x (B, C, H, W), weight (O, C, kh, kw); padding with zeros: left, right, top, bottom.

    Every output place sees a window of the padded input; the windows become the rows of a matrix.
    """
    O, C, kh, kw = weight.shape
    left, right, top, bottom = padding
    if mutant("conv-kernel-transposed"):
        weight = weight.swapaxes(2, 3)
    if mutant("kernels-flipped"):
        weight = weight[:, :, ::-1, ::-1]
    mode = "wrap" if mutant("conv-circular") else "constant"
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), mode)
    windows = sliding_window_view(x, (kh, kw), axis=(2, 3))[:, :, ::stride, ::stride]
    B, _, H, W = windows.shape[:4]
    rows = windows.transpose(0, 2, 3, 1, 4, 5).reshape(B * H * W, C * kh * kw)
    if mutant("conv-kernel-ohwi"):  # the numbers of (O, kh, kw, C) read as (O, C, kh, kw)
        weight = weight.transpose(0, 2, 3, 1).reshape(O, C, kh, kw)
    out = matmul(conv_factor(rows), conv_factor(weight.reshape(O, -1).T))
    if bias is not None:
        out = out + bias
    return rounded(out.reshape(B, H, W, O).transpose(0, 3, 1, 2))


def normalize(x, eps):
    """(x - mean) / sqrt(var + eps) over the last axis; var divides by n, not n - 1."""
    centred = x - mean(x)
    n = x.shape[-1]
    if mutant("variance-unbiased"):
        n = n - 1
    var = total(centred * centred) / n
    if mutant("eps-outside-root"):
        return centred / (np.sqrt(var) + eps)
    return centred / np.sqrt(var + eps)


def group_norm(x, groups, weight, bias, eps):
    """x (B, C, ...): mean and variance over C/groups neighbouring channels and all places."""
    B, C = x.shape[:2]
    grouped = x.reshape(B, groups, -1)
    if mutant("groupnorm-interleaved"):  # channel c in group c % groups
        grouped = x.reshape(B, C // groups, groups, -1).swapaxes(1, 2).reshape(B, groups, -1)
    y = normalize(grouped, eps)
    if mutant("groupnorm-interleaved"):
        y = y.reshape(B, groups, C // groups, -1).swapaxes(1, 2)
    y = y.reshape(x.shape)
    if mutant("groupnorm-not-affine"):
        return rounded(y)
    affine = (1, C) + (1,) * (x.ndim - 2)
    return rounded(y * weight.reshape(affine) + bias.reshape(affine))


def layer_norm(x, weight, bias, eps):
    """x (..., C), over the last axis."""
    if mutant("rms-norm"):
        return rounded(x / np.sqrt(mean(x * x) + eps) * weight + bias)
    return rounded(normalize(x, eps) * weight + bias)


# ---- activations ---------------------------------------------------------------------------------


def logistic(x):
    """1 / (1 + exp(-x)), without overflow for large -x."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def sigmoid(x):
    return rounded(logistic(x))


def relu(x):
    return np.maximum(x, 0)


def silu(x):
    return rounded(x * logistic(x))


def quick_gelu(x):
    return rounded(x * sigmoid(rounded(1.702 * x)))


def gelu_tanh(x):
    return rounded(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))))


def gelu(x):
    """x * Phi(x) = x / 2 * (1 + erf(x / sqrt 2)): the exact one, not its approximation by tanh."""
    root = x * math.sqrt(0.5)
    erf = np.array([math.erf(v) for v in root.ravel().tolist()], x.dtype).reshape(x.shape)
    return rounded(x * 0.5 * (1 + erf))


def softmax(x):
    """Over the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / total(e)


# ---- attention, resampling, embeddings -----------------------------------------------------------


def split_heads(x, heads):
    """(B, T, heads * d) -> (B, heads, T, d)."""
    B, T, C = x.shape
    if mutant("heads-innermost"):  # channel c belongs to head c % heads
        return x.reshape(B, T, C // heads, heads).transpose(0, 3, 1, 2)
    return x.reshape(B, T, heads, C // heads).transpose(0, 2, 1, 3)


def attention(q, k, v, heads, causal=False, scale=None, seen=None):
    """q (B, T, C), k and v (B, S, C): softmax(q k^T scale) v per head. seen (B, S): keys that are looked at."""
    B, T, C = q.shape
    scale = (C // heads) ** -0.5 if scale is None else scale
    q, k, v = (split_heads(x, heads) for x in (q, k, v))
    scores = matmul(q, k.swapaxes(-1, -2)) * scale
    if causal:
        first = 2 if mutant("causal-mask-late") else 1
        scores = scores + np.triu(np.full(scores.shape[-2:], -np.inf, scores.dtype), first)
    if seen is not None:
        scores = np.where(seen[:, None, None, :], scores, -np.inf).astype(scores.dtype)
    if mutant("softmax-over-queries"):
        weights = softmax(scores.swapaxes(-1, -2)).swapaxes(-1, -2)
    else:
        weights = softmax(scores)
    out = rounded(matmul(rounded(weights), v))  # scores are not stored
    if mutant("heads-not-merged"):  # (B, heads, T, d) taken as it lies in memory
        return out.reshape(B, T, C)
    return out.transpose(0, 2, 1, 3).reshape(B, T, C)


def nearest(size, wanted):
    """Which of `size` places each of `wanted` places copies: floor(i * size / wanted)."""
    if mutant("upsample-half-pixel"):  # the centre of the place, not its corner
        return np.minimum(((np.arange(wanted) + 0.5) * size / wanted).astype(int), size - 1)
    return np.arange(wanted) * size // wanted


def upsample(x, height, width):
    """Nearest neighbour, to any size."""
    if mutant("upsample-bilinear"):
        return bilinear(x, height, width)
    return x[:, :, nearest(x.shape[2], height)][:, :, :, nearest(x.shape[3], width)]


def bilinear(x, height, width):
    """What a port uses that takes "linear" for the default (half-pixel centres)."""
    for axis, wanted in ((2, height), (3, width)):
        size = x.shape[axis]
        place = np.clip((np.arange(wanted) + 0.5) * size / wanted - 0.5, 0, size - 1)
        low = place.astype(int)
        share = (place - low).astype(x.dtype).reshape([-1 if i == axis else 1 for i in range(4)])
        high = np.minimum(low + 1, size - 1)
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
    return x


def timestep_embedding(timesteps, dim, flip_sin_to_cos, freq_shift, dtype):
    """timesteps (B): angles t * 10000^(-k / (dim/2 - freq_shift)); in SD flipped: cos, then sin."""
    half = dim // 2
    if mutant("timestep-frequency-shift"):
        freq_shift = 1
    k = np.arange(half, dtype=dtype)
    frequency = np.exp(-math.log(10000) * k / (half - freq_shift))
    angle = np.asarray(timesteps, dtype)[:, None] * frequency
    parts = [np.sin(angle), np.cos(angle)]
    if flip_sin_to_cos and not mutant("timestep-sin-first"):
        parts.reverse()
    return rounded(np.concatenate(parts, -1))
