"""Float32 as naive as it can be: every sum one accumulator of its own type, term by term.

What many first ports do, and no mistake. Inside `sums(backwards)` the functions of torch that add numbers up
are replaced: linear, conv2d, group_norm, layer_norm, scaled_dot_product_attention, softmax, and
Tensor.mean. A product is rounded, then added; biases come last; variances take two passes.
"""

import contextlib

import numpy as np
import torch
from torch.nn import functional


def total(x, backwards):
    """The sum over the last axis, which stays with size 1; np.add.accumulate has one accumulator."""
    terms = x.numpy()
    return torch.from_numpy(np.add.accumulate(terms[..., ::-1] if backwards else terms, -1)[..., -1:].copy())


def products(out, left, right, backwards):
    """out += left[k] * right[k], one k after the other."""
    count = len(left)
    for k in reversed(range(count)) if backwards else range(count):
        out += left[k] * right[k]
    return out


def normalized(x, eps, backwards):
    """(x - mean) / sqrt(variance + eps) over the last axis."""
    count = x.shape[-1]
    centred = x - total(x, backwards) / count
    return centred / torch.sqrt(total(centred * centred, backwards) / count + eps)


class Functions:
    """The replacements, in torch's signatures as far as the models use them."""

    def __init__(self, backwards):
        self.backwards = backwards

    def linear(self, x, weight, bias=None):
        rows = x.reshape(-1, x.shape[-1])
        out = x.new_zeros(len(rows), len(weight))
        products(out, rows.t().contiguous()[:, :, None], weight.t().contiguous()[:, None, :], self.backwards)
        return (out if bias is None else out + bias).reshape(*x.shape[:-1], -1)

    def conv2d(self, x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        assert groups == 1
        columns = functional.unfold(x, weight.shape[2:], dilation, padding, stride)
        out = x.new_zeros(len(x), len(weight), columns.shape[-1])
        left = weight.flatten(1).t().contiguous()[:, None, :, None]
        products(out, left, columns.transpose(0, 1).contiguous()[:, :, None, :], self.backwards)
        out = out if bias is None else out + bias[:, None]
        height, width = (
            (x.shape[2 + i] + 2 * padding[i] - weight.shape[2 + i]) // stride[i] + 1 for i in range(2)
        )
        return out.reshape(len(x), len(weight), height, width)

    def group_norm(self, x, num_groups, weight=None, bias=None, eps=1e-5):
        y = normalized(x.reshape(len(x), num_groups, -1), eps, self.backwards).reshape(x.shape)
        affine = (1, -1) + (1,) * (x.dim() - 2)
        return y * weight.reshape(affine) + bias.reshape(affine)

    def layer_norm(self, x, normalized_shape, weight=None, bias=None, eps=1e-5):
        assert len(normalized_shape) == 1
        return normalized(x, eps, self.backwards) * weight + bias

    def softmax(self, x):
        e = torch.exp(x - x.amax(-1, keepdim=True))
        return e / total(e, self.backwards)

    def scaled_dot_product_attention(
        self, q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
    ):
        assert dropout_p == 0 and not enable_gqa
        T, S, D = q.shape[-2], k.shape[-2], q.shape[-1]
        last = (x.movedim(-1, 0).contiguous() for x in (q, k))
        queries, keys = last
        scores = q.new_zeros(*q.shape[:-1], S)
        products(scores, queries[..., :, None], keys[..., None, :], self.backwards)
        scores = scores * (D**-0.5 if scale is None else scale)
        if is_causal:
            attn_mask = torch.ones(T, S, dtype=torch.bool).tril()
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, -torch.inf)
        elif attn_mask is not None:
            scores = scores + attn_mask
        shares = self.softmax(scores).movedim(-1, 0).contiguous()
        return products(
            q.new_zeros(*q.shape[:-1], v.shape[-1]),
            shares[..., None],
            v.movedim(-2, 0).contiguous()[..., None, :],
            self.backwards,
        )

    def mean(self, x, dim):
        return (total(x.movedim(dim, -1), self.backwards) / x.shape[dim]).squeeze(-1)


NAMES = ("linear", "conv2d", "group_norm", "layer_norm", "scaled_dot_product_attention")


@contextlib.contextmanager
def sums(backwards):
    """A context in which torch adds up term by term, from the first or from the last."""
    functions = Functions(backwards)
    originals = {name: getattr(functional, name) for name in NAMES}
    mean = torch.Tensor.mean
    for name in NAMES:
        setattr(functional, name, getattr(functions, name))
    torch.Tensor.mean = lambda x, dim: functions.mean(x, dim)
    try:
        yield
    finally:
        torch.Tensor.mean = mean
        for name, function in originals.items():
            setattr(functional, name, function)
