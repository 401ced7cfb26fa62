#!/usr/bin/env python3
"""The constants of ref/core/fmath.c, and true values for its tests, from the functions' definitions by mpmath.

    scripts/golden/fmath.py [--check]

writes ref/core/fmath_tables.h, ref/core/vmath_tables.h and tests/core/fmath_values.txt; --check writes nothing and says
whether they are what would be written. Needs mpmath alone (PyTorch brings it along). fmath.c and vmath.h say what
each table is for.

A polynomial is the one of least degree whose error stays below the bound that stands in its call; chebyfit
interpolates in Chebyshev's points with 60 digits, then each coefficient is rounded to double. A number that
needs more than a double is two: the nearest double, and the nearest to what is left.
"""

import argparse
import random
import sys
from pathlib import Path

from mpmath import mp, mpf

ROOT = Path(__file__).resolve().parents[2]
TABLES = ROOT / "ref/core/fmath_tables.h"
LOOP_TABLES = ROOT / "ref/core/vmath_tables.h"
VALUES = ROOT / "tests/core/fmath_values.txt"
mp.dps = 60


# ---- tables ------------------------------------------------------------------------------------------------


def hexadecimal(x):
    return float(x).hex()


def pair(x):
    hi = float(x)
    return f"{{{hi.hex()}, {hexadecimal(mpf(x) - mpf(hi))}}}"


def upper(x, bits):
    """x without all but its first `bits` bits."""
    exponent = mp.floor(mp.log(x, 2)) - bits + 1
    return mp.floor(x / mpf(2) ** exponent) * mpf(2) ** exponent


def fit(function, low, high, bound):
    """Coefficients, lowest first, of the shortest polynomial within `bound` of the function."""
    for count in range(3, 40):
        coefficients, error = mp.chebyfit(function, [low, high], count, error=True)
        if error < bound:
            return coefficients[::-1]
    raise ValueError("no polynomial is near enough")


def listed(numbers, indent):
    """Four in a line."""
    texts = [hexadecimal(n) for n in numbers]
    return f",\n{indent}".join(", ".join(texts[i : i + 4]) for i in range(0, len(texts), 4))


def array(name, numbers):
    lines = listed(numbers, "    ")
    return f"static const double {name}[] = {{\n    {lines}}};\n"


def series(x, first, term):
    """The sum of term(n) x^n from n = first until nothing is added."""
    total, n, power = mpf(0), first, mpf(1)
    while True:
        added = term(n) * power
        total += added
        if power == 0 or abs(added) < mpf(10) ** -70:
            return total
        n, power = n + 1, power * x


def erfcx(z):
    return mp.exp(mpf(z) ** 2) * mp.erfc(z)


def erfcx_rows():
    """A row for each sixteenth of [0, 1), [1, 2), and twice, four, eight, sixteen times the latter, up to 28."""
    middles = [(0, mpf(2 * n + 1) / 32) for n in range(16)]
    middles += [(e, mpf(2 * n + 1) / 32) for e in range(5) for n in range(16, 32)]
    rows = []
    for e, y in middles[:-4]:
        value = erfcx(y * 2**e)
        part = lambda h, e=e, y=y: erfcx((y + h) * 2**e)  # noqa: E731
        rows.append(fit(part, mpf(-1) / 32, mpf(1) / 32, value * mpf(2) ** -62))
    columns = max(len(row) for row in rows)
    lines = []
    for row in rows:
        first = float(row[0])
        numbers = [mpf(first), row[0] - mpf(first), *row[1:], *[mpf(0)] * (columns - len(row))]
        lines.append(f"    {{{listed(numbers, '     ')}}},\n")
    head = f"enum {{ ERFCX_COLUMNS = {columns + 1} }};\n"
    return head + f"static const double erfcx_row[{len(rows)}][ERFCX_COLUMNS] = {{\n{''.join(lines)}}};\n"


def two_over_pi():
    mp.prec = 1400
    bits = int(mp.floor(2 / mp.pi * mpf(2) ** (32 * 37)))
    mp.dps = 60
    words = [f"0x{bits >> 32 * (36 - i) & 0xFFFFFFFF:08x}" for i in range(37)]
    lines = ",\n    ".join(", ".join(words[i : i + 6]) for i in range(0, 37, 6))
    return f"static const uint32_t two_over_pi[] = {{\n    {lines}}};\n"


def tables():
    ln2, factorial = mp.ln(2), mp.factorial
    first = upper(ln2, 42)
    second = upper(ln2 - first, 42)
    root_pi, tiny = mp.sqrt(mp.pi), mpf(2) ** -60
    log_end, quarter = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * mpf("1.001"), (mp.pi / 4) ** 2 * mpf("1.001")
    return "\n".join(
        [
            "/* fmath_tables.h - constants of fmath.c, which says what they are. Made by scripts/golden/fmath.py. */\n"
            "#ifndef MOLE_CORE_FMATH_TABLES_H\n#define MOLE_CORE_FMATH_TABLES_H\n\n#include <stdint.h>\n\n"
            '#include "core/double_double.h"\n\n/* clang-format off */',
            f"static const double LN2_1 = {hexadecimal(first)};\nstatic const double LN2_2 = {hexadecimal(second)};\n"
            f"static const double LN2_3 = {hexadecimal(ln2 - first - second)};\n"
            f"static const dd_t SQRT_HALF = {pair(1 / mp.sqrt(2))};\nstatic const dd_t PI_2 = {pair(mp.pi / 2)};\n"
            f"static const dd_t MINUS_SIXTH = {pair(mpf(-1) / 6)};\n"
            f"static const dd_t TWO_OVER_ROOT_PI = {pair(2 / root_pi)};\n"
            f"static const dd_t ERF_THIRD = {pair(-2 / (3 * root_pi))};\n",
            "/* (exp r - 1 - r - r^2/2) / r^3, |r| <= 0.347 */",
            array(
                "exp_tail",
                fit(lambda r: series(r, 0, lambda n: 1 / factorial(n + 3)), mpf("-0.347"), mpf("0.347"), tiny),
            ),
            "/* (log((1 + s) / (1 - s)) - 2 s) / s^3 in s^2 */",
            array("log_tail", fit(lambda t: series(t, 0, lambda n: mpf(2) / (2 * n + 3)), 0, log_end, tiny)),
            "/* (sin r - r + r^3/6) / r^5 in r^2 */",
            array(
                "sin_tail",
                fit(lambda t: series(-t, 0, lambda n: 1 / factorial(2 * n + 5)), 0, quarter, tiny / 64),
            ),
            "/* (cos r - 1 + r^2/2) / r^4 in r^2 */",
            array(
                "cos_tail",
                fit(lambda t: series(-t, 0, lambda n: 1 / factorial(2 * n + 4)), 0, quarter, tiny / 8),
            ),
            "/* (erf x - 2 / sqrt pi (x - x^3/3)) / x^5 in x^2 */",
            array(
                "erf_tail",
                fit(
                    lambda t: series(-t, 0, lambda n: 2 / root_pi / factorial(n + 2) / (2 * n + 5)),
                    0,
                    mpf(1) / 4,
                    tiny,
                ),
            ),
            "/* exp(z^2) erfc(z) around the middle of row's part; its first coefficient is two numbers */",
            erfcx_rows(),
            "/* 2 / pi, behind the point, 32 bits a word */",
            two_over_pi(),
            "/* clang-format on */\n\n#endif\n",
        ]
    )


def loop_tables():
    def exponent(u):
        t = (1 + u) / 2
        return mp.log(erfcx(2 / t - 2) / t)

    return (
        "/* vmath_tables.h - coefficients of vmath.h, which says what they are. Made by scripts/golden/fmath.py. */\n"
        "#ifndef MOLE_CORE_VMATH_TABLES_H\n#define MOLE_CORE_VMATH_TABLES_H\n\n/* clang-format off */\n"
        "/* log(exp(z^2) erfc(z) / t) in u = 2 t - 1, t = 2 / (2 + z), 0.16 <= t <= 1 */\n"
        + array("erfc_exponent", fit(exponent, mpf("-0.68"), 1, mpf(2) ** -35))
        + "/* clang-format on */\n\n#endif\n"
    )


# ---- true values -------------------------------------------------------------------------------------------


def sigmoid(x):
    return 1 / (1 + mp.exp(-x))


FUNCTIONS = {
    "exp": mp.exp,
    "log": mp.log,
    "log1p": lambda x: mp.log(1 + x),
    "sin": mp.sin,
    "cos": mp.cos,
    "erf": mp.erf,
    "erfc": mp.erfc,
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "gelu": lambda x: x / 2 * mp.erfc(-x / mp.sqrt(2)),
    "quick_gelu": lambda x: x * sigmoid(mpf(1.702) * x),
}
# Of each function: where its values are numbers, and where it changes fast or is cut in pieces.
ENDS = {
    "exp": (-745.13, 709.78),
    "log": (0, 1.7e308),
    "log1p": (-1, 1.7e308),
    "sin": (-1.7e308, 1.7e308),
    "cos": (-1.7e308, 1.7e308),
    "erf": (-6.5, 6.5),
    "erfc": (-6.5, 27.22),
    "sigmoid": (-745.13, 45),
    "silu": (-751, 45),
    "gelu": (-38.5, 11),
    "quick_gelu": (-441, 45),
}
PLACES = [0.25, 0.3465, 0.34658, 0.5, 0.70710678118654752, 0.785, 0.7854, 0.8, 1, 1.41421356237309505, 2, 3, 6, 10]
PLACES += [0.10397207708399179, 0.6931471805599453, 1.0397207708399179, 1.5707963267948966, 3.141592653589793]
# The double nearest to a multiple of pi/2 (relative to its own size), and others that are known to be hard.
ANGLES = [float.fromhex("0x1.6ac5b262ca1ffp+849"), 1e22, 1e300, 2.0**1023, 5e5 * 3.141592653589793]


def points(name, chance):
    """Doubles where the function is tried: spread evenly and by orders of magnitude, and beside each place."""
    low, high = ENDS[name]
    near = [max(low, -50), min(high, 50)]
    found = [chance.uniform(*near) for _ in range(60)]
    found += [chance.choice([-1, 1]) * 10 ** chance.uniform(-320, 308) for _ in range(80)]
    found += [chance.choice([-1, 1]) * 10 ** chance.uniform(-12, 3) for _ in range(80)]
    found += [chance.uniform(max(low, -800), min(high, 800)) for _ in range(40)]
    for place in PLACES:
        for sign in (1, -1):
            found += [sign * place * (1 + k * 2.0**-52) for k in (-2, -1, 0, 1, 2)]
            found += [sign * place * (1 + chance.uniform(-1, 1) * 2.0**-k) for k in (10, 20, 30, 40)]
    if name in ("sin", "cos"):
        found += ANGLES + [k * 1.5707963267948966 for k in (2, 3, 5, 7, 1000, 1001, 4e9)]
        found += [10 ** chance.uniform(0, 12) for _ in range(100)]
    if name == "log1p":
        found += [-1 + 2.0**-k for k in (1, 2, 10, 40, 53)]
    if low < -700:  # exp, sigmoid, silu
        found += [chance.uniform(low, low + 45) for _ in range(40)]  # subnormal results
        found += [chance.uniform(low + 36, low + 37) for _ in range(40)]  # that lack few of their bits
    if name == "gelu":
        found += [chance.uniform(low, low + 2) for _ in range(60)]
    if name == "erfc":
        found += [chance.uniform(high - 2, high) for _ in range(60)]
    return sorted({x for x in found if low < x < high and x != 0 and (name, x) != ("log", 1)})


def value_line(name, x):
    """NAME X E HI LO: the value is (HI + LO) 2^E with HI in [1, 2), to 106 bits."""
    value = FUNCTIONS[name](mpf(x))
    e = mp.frexp(value)[1] - 1
    part = value / mpf(2) ** e
    return f"{name} {x.hex()} {e} {hexadecimal(part)} {hexadecimal(part - mpf(float(part)))}"


def values():
    mp.prec = 1300  # 1 + x, and angles of 2^1023, keep 200 bits
    lines = ["# Made by scripts/golden/fmath.py: FUNCTION X E HI LO, the value of X is (HI + LO) 2^E to 106 bits."]
    for name in FUNCTIONS:
        chance = random.Random(name)
        lines += [value_line(name, x) for x in points(name, chance)]
    mp.dps = 60
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing, say whether the files are these")
    check, status = parser.parse_args().check, 0
    for path, text in ((TABLES, tables()), (LOOP_TABLES, loop_tables()), (VALUES, values())):
        if not check:
            path.write_text(text)
        elif path.read_text() != text:
            print(f"{path.relative_to(ROOT)} is not what this program makes", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
