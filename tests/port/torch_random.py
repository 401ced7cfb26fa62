"""What torch.manual_seed(seed); torch.randn(n) gives on the CPU, bit for bit.

The uniforms are those of the Mersenne twister, which NumPy has too. The normals are Box and
Muller's, made in float32 by a vector kernel with the polynomials of the Cephes library, and most of
its products and sums are fused. The exact numbers are up to 1e-6 away.
"""

import math

import numpy as np

from mutants import mutant

f32 = np.float32


def fused(a, b, c):
    """a * b + c with one rounding: the product of two float32 is exact in float64."""
    return (np.float64(a) * b + np.float64(c)).astype(f32)


def horner(x, *coefficients):
    y = np.full(x.shape, coefficients[0], f32)
    for c in coefficients[1:]:
        y = fused(y, x, f32(c))
    return y


def cephes_log(x):
    mantissa, exponent = np.frexp(x)
    low = mantissa < f32(math.sqrt(0.5))
    exponent = (exponent - low).astype(f32)
    f = (mantissa - f32(1)) + np.where(low, mantissa, f32(0))
    square = f * f
    y = horner(
        f, 7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
        -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    ) * f  # fmt: skip
    y = fused(y, square, exponent * f32(-2.12194440e-4))
    y = fused(-square, f32(0.5), y)
    return fused(exponent, f32(0.693359375), f + y)


def cephes_sin_cos(x):
    """For x >= 0: which octant, the rest in [-pi/4, pi/4], a polynomial for each."""
    octant = (x * f32(4 / math.pi)).astype(np.int32) + 1 & ~1
    for part in (0.78515625, 2.4187564849853515625e-4, 3.77489497744594108e-8):
        x = fused(-octant.astype(f32), f32(part), x)
    z = x * x
    cos = horner(z, 2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
    cos = fused(cos * z, z, -(f32(0.5) * z)) + f32(1)
    sin = fused(horner(z, -1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1) * z, x, x)
    quarter = octant // 2 % 4
    sin, cos = np.where(quarter % 2, cos, sin), np.where(quarter % 2, sin, cos)
    return np.where(quarter >= 2, -sin, sin), np.where((quarter == 1) | (quarter == 2), -cos, cos)


def sixteen(uniforms):
    """Of each 16 uniforms the first 8 give radii, the last 8 angles; the cosines come first."""
    u = uniforms.reshape(-1, 2, 8)
    radius = np.sqrt(f32(-2) * cephes_log(f32(1) - u[:, 0]))
    sin, cos = cephes_sin_cos(f32(2 * math.pi) * u[:, 1])
    if mutant("randn-sine-first"):
        sin, cos = cos, sin
    return np.stack([radius * cos, radius * sin], 1).ravel()


class Generator:
    def __init__(self, seed):
        # NumPy's RandomState is the same twister, seeded the same way.
        self.twister = np.random.RandomState(seed & 0xFFFFFFFF)
        self.kept = None

    def words(self, n):
        return self.twister.randint(0, 1 << 32, size=n, dtype=np.uint32)

    def uniform(self, n):
        return (self.words(n) & 0xFFFFFF).astype(f32) * f32(2**-24)

    def uniform_double(self):
        high, low = (int(w) for w in self.words(2))
        return ((high << 32 | low) & ((1 << 53) - 1)) * 2.0**-53

    def one(self):
        """Below 16 numbers: pairs in float64, of which the sine waits for its turn."""
        if self.kept is not None:
            value, self.kept = self.kept, None
            return value
        u1, u2 = self.uniform_double(), self.uniform_double()
        radius, angle = math.sqrt(-2 * math.log1p(-u2)), 2 * math.pi * u1
        self.kept = radius * math.sin(angle)
        return radius * math.cos(angle)

    def randn(self, *shape):
        n = math.prod(shape)
        if n < 16:
            return np.array([self.one() for _ in range(n)], f32).reshape(shape)
        if mutant("randn-numpy"):
            return self.twister.standard_normal(n).astype(f32).reshape(shape)
        uniforms = self.uniform(n)
        whole = n - n % 16
        out = np.empty(n, f32)
        out[:whole] = sixteen(uniforms[:whole])
        if n > whole and mutant("randn-tail"):  # the remainder cut from one more block
            out[whole:] = sixteen(np.concatenate([uniforms[whole:], self.uniform(whole + 16 - n)]))[
                : n - whole
            ]
        elif n > whole:  # the last 16 places are drawn and made anew
            out[-16:] = sixteen(self.uniform(16))
        return out.reshape(shape)
