"""Operations that multiply matrices: matmul, linear, conv2d, attention."""

import torch
import torch.nn.functional as F

from golden.calls import Calls
from golden.seeds import normal


def matmul(out):
    calls = Calls(out, "matmul", "a @ b, or a @ b^T where transpose_b is true.")
    shapes = [
        ("one", (1, 1), (1, 1), False),
        ("row-times-column", (1, 7), (7, 1), False),
        ("odd", (5, 3), (3, 9), False),
        ("outer", (6, 1), (1, 5), False),
        ("large", (33, 130), (130, 29), False),
        ("transpose-odd", (5, 3), (9, 3), True),
        ("transpose-row", (1, 64), (17, 64), True),
        ("transpose-large", (31, 257), (19, 257), True),
    ]
    for name, a, b, transposed in shapes:
        calls.add(
            name,
            lambda a, b, t=transposed: a @ (b.transpose(-1, -2) if t else b),
            {"a": normal(f"matmul/{name}/a", a), "b": normal(f"matmul/{name}/b", b)},
            {"transpose_b": transposed},
        )
    # Sums that cancel: the terms are large, the results are small.
    a = normal("matmul/cancel/a", (4, 40), 100.0)
    b = normal("matmul/cancel/b", (40, 3))
    calls.add(
        "cancel",
        lambda a, b: a @ b,
        {"a": torch.cat([a, a], 1), "b": torch.cat([b, -b + 1e-3], 0)},
        {"transpose_b": False},
    )
    calls.write()


def linear(out):
    calls = Calls(out, "linear", "x @ weight^T + bias over the last dimension.")
    shapes = [
        ("bias", (2, 5, 12), 7, True),
        ("no-bias", (2, 5, 12), 7, False),
        ("one-token", (1, 1, 3), 4, True),
        ("one-in", (2, 3, 1), 5, True),
        ("one-out", (2, 3, 9), 1, True),
        ("two-dimensions", (3, 16), 24, True),
        ("wide", (2, 4, 160), 40, True),
    ]
    for name, x, d_out, bias in shapes:
        tensors = {
            "x": normal(f"linear/{name}/x", x),
            "weight": normal(f"linear/{name}/weight", (d_out, x[-1]), x[-1] ** -0.5),
            "bias": normal(f"linear/{name}/bias", (d_out,), 0.5) if bias else None,
        }
        calls.add(name, lambda x, weight, bias: F.linear(x, weight, bias), tensors)
    calls.write()


def conv2d(out):
    about = "torch's conv2d on NCHW, with padding [left, right, top, bottom] of zeros."
    calls = Calls(out, "conv2d", about)
    shapes = [  # name, x, output channels, kernel, stride, padding, bias
        ("1x1", (2, 6, 3, 5), 4, 1, 1, [0, 0, 0, 0], True),
        ("1x1-no-bias", (1, 3, 4, 2), 8, 1, 1, [0, 0, 0, 0], False),
        ("3x3", (2, 4, 5, 7), 6, 3, 1, [1, 1, 1, 1], True),
        ("3x3-no-bias", (1, 6, 7, 5), 2, 3, 1, [1, 1, 1, 1], False),
        ("3x3-no-padding", (1, 3, 5, 4), 4, 3, 1, [0, 0, 0, 0], True),
        ("one-pixel", (2, 5, 1, 1), 3, 3, 1, [1, 1, 1, 1], True),
        ("one-channel", (1, 1, 4, 6), 1, 3, 1, [1, 1, 1, 1], True),
        ("stride-2-odd", (2, 3, 5, 7), 4, 3, 2, [1, 1, 1, 1], True),
        ("stride-2-even", (1, 4, 6, 4), 4, 3, 2, [1, 1, 1, 1], True),
        ("stride-2-asymmetric", (2, 3, 6, 5), 5, 3, 2, [0, 1, 0, 1], True),
        ("four-paddings", (1, 2, 4, 3), 3, 3, 1, [2, 0, 1, 3], True),
        ("stride-2-1x1", (1, 3, 5, 4), 2, 1, 2, [0, 0, 0, 0], True),
    ]
    for name, x, c_out, kernel, stride, padding, bias in shapes:
        fan_in = x[1] * kernel * kernel
        shape = (c_out, x[1], kernel, kernel)
        tensors = {
            "x": normal(f"conv2d/{name}/x", x),
            "weight": normal(f"conv2d/{name}/weight", shape, fan_in**-0.5),
            "bias": normal(f"conv2d/{name}/bias", (c_out,), 0.5) if bias else None,
        }
        calls.add(
            name,
            lambda x, weight, bias, p=padding, s=stride: F.conv2d(
                F.pad(x, p), weight, bias, stride=s
            ),
            tensors,
            {"stride": stride, "padding": padding},
        )
    calls.write()


def attention(out):
    about = "softmax(q k^T * scale) v per head; q (B,T,heads*D), k and v (B,S,heads*D)."
    calls = Calls(out, "attention", about)
    shapes = [  # name, batch, T, S, heads, D, causal, size of q and k
        ("self", 2, 6, 6, 2, 4, False, 1.0),
        ("cross", 2, 5, 7, 2, 4, False, 1.0),
        ("one-query", 1, 1, 9, 3, 4, False, 1.0),
        ("one-key", 2, 4, 1, 2, 3, False, 1.0),
        ("odd-width", 1, 5, 5, 3, 5, False, 1.0),
        ("one-head", 1, 12, 12, 1, 32, False, 1.0),
        ("width-one", 1, 4, 6, 8, 1, False, 1.0),
        ("causal", 2, 7, 7, 5, 8, True, 1.0),
        ("causal-one", 1, 1, 1, 2, 4, True, 1.0),
        ("sharp", 1, 6, 8, 2, 4, False, 6.0),
    ]
    for name, batch, t, s, heads, width, causal, size in shapes:
        tensors = {
            "q": normal(f"attention/{name}/q", (batch, t, heads * width), size),
            "k": normal(f"attention/{name}/k", (batch, s, heads * width), size),
            "v": normal(f"attention/{name}/v", (batch, s, heads * width)),
        }

        def function(q, k, v, heads=heads, scale=width**-0.5, causal=causal):
            split = [x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v)]
            y = F.scaled_dot_product_attention(*split, is_causal=causal, scale=scale)
            return y.transpose(1, 2).flatten(2)

        attrs = {"heads": heads, "scale": width**-0.5, "causal": causal}
        calls.add(name, function, tensors, attrs)
    calls.write()
