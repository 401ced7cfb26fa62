"""How torch's CPU turns uniforms into float32 normals, sixteen at a time, to the last bit.

torch.randn of 16 and more numbers runs a vector kernel on x86-64 with AVX2 (and with AVX-512, the
same one): the logarithm, sine and cosine are the Cephes polynomials in float32, and the compiler
has joined most products and sums into fused multiply-adds. The result differs from the exact
Box-Muller numbers by up to 1e-6, so a program that wants torch's noise has to follow it. This file
is the description; sampler.py checks that it gives torch's bits. Fewer than 16 numbers take
another way: float64, see docs/golden-format.md.
"""

import numpy as np

F = np.float32


def fma(a, b, c):
    """a * b + c, rounded once (the product of two float32 is exact in float64)."""
    wide = np.asarray(a, np.float64) * np.asarray(b, np.float64) + np.asarray(c, np.float64)
    return wide.astype(F)


def polynomial(x, coefficients):
    y = np.full_like(x, F(coefficients[0]))
    for c in coefficients[1:]:
        y = fma(y, x, F(c))
    return y


LOG = [7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1]
LOG += [-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1]
LN2_LOW, LN2_HIGH = F(-2.12194440e-4), F(0.693359375)


def log(u):
    """Natural logarithm of u in (0, 1]."""
    bits = u.view(np.int32)
    e = ((bits >> 23) - 126).astype(F)
    m = ((bits & 0x007FFFFF) | 0x3F000000).view(F)  # in [0.5, 1)
    small = m < F(0.707106781186547524)
    e = e - small.astype(F)
    x = (m - F(1)) + np.where(small, m, F(0))
    z = x * x
    y = polynomial(x, LOG) * x
    y = fma(y, z, e * LN2_LOW)
    y = fma(-z, F(0.5), y)
    return fma(e, LN2_HIGH, x + y)


COS = [2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2]
SIN = [-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1]
MINUS_PI_OVER_4 = (-0.78515625, -2.4187564849853515625e-4, -3.77489497744594108e-8)


def sin_cos(theta):
    """Sine and cosine of theta >= 0."""
    j = (theta * F(1.27323954473516)).astype(np.int32)
    j = (j + 1) & ~1  # the even octant
    x = theta
    for part in MINUS_PI_OVER_4:
        x = fma(j.astype(F), F(part), x)
    z = x * x
    c = fma(polynomial(z, COS) * z, z, -(z * F(0.5))) + F(1)
    s = fma(polynomial(z, SIN) * z, x, x)
    swap = (j & 2) != 0
    sine, cosine = np.where(swap, c, s), np.where(swap, s, c)
    sine = np.where((j & 4) != 0, -sine, sine)
    cosine = np.where(((j - 2) & 4) == 0, -cosine, cosine)
    return sine, cosine


def normals(uniforms):
    """16 k uniforms -> 16 k normals: of each 16, the first 8 give radii, the last 8 angles."""
    u = uniforms.reshape(-1, 2, 8)
    radius = np.sqrt(F(-2) * log(np.ascontiguousarray(F(1) - u[:, 0])))
    sine, cosine = sin_cos(F(2 * np.pi) * u[:, 1])
    return np.stack([radius * cosine, radius * sine], 1).reshape(-1)
