"""Lines of Python with NumPy as np, the plain functions of this folder, and the reference in float64 as ref.

What an expression gives is printed.

    scripts/with_numpy.sh docs/course/code/say.py 'x = np.array([1.0, 2.0])' 'silu(x)'
"""

import ast
import glob
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..", "..")
sys.path[:0] = [HERE, os.path.join(ROOT, "tests", "port"), os.path.join(ROOT, "scripts", "mole_ref")]
OWN = ("say", "check")  # not plain functions


def main(lines):
    import mole_ref

    scope = {"np": np, "ref": mole_ref.load("f64")}
    for path in sorted(glob.glob(os.path.join(HERE, "*.py"))):
        name = os.path.basename(path)[: -len(".py")]
        if name not in OWN:
            module = __import__(name)
            scope.update({n: f for n, f in vars(module).items() if callable(f)})
    np.set_printoptions(precision=4, suppress=True, floatmode="fixed", linewidth=110)
    for line in lines:
        try:
            code = compile(ast.parse(line, mode="eval"), "<line>", "eval")
        except SyntaxError:
            exec(line, scope)
            continue
        value = eval(code, scope)
        if value is not None:
            print(f"{value:.4f}" if isinstance(value, float) else value)


if __name__ == "__main__":
    main(sys.argv[1:])
