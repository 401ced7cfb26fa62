"""What the tests of Python programs share: a Python that has torch, and a last line as the other tests print it."""

import os
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

NEEDS = "import numpy, torch, diffusers, safetensors.torch"


def with_torch():
    """PYTHON=NAME, .venv/bin/python or python3, the first that has torch and diffusers; None where there is none."""
    venv = Path(__file__).resolve().parents[1] / ".venv/bin/python"
    for name in (os.environ.get("PYTHON"), str(venv), "python3"):
        if name and shutil.which(name):
            if subprocess.run([name, "-c", NEEDS], capture_output=True, check=False).returncode == 0:
                return name
    return None


def run_cases(module):
    """Run a module's tests; the status to exit with."""
    loaded = unittest.defaultTestLoader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(stream=sys.stderr).run(loaded)
    for test, why in result.skipped:
        print(f"SKIP {test}: {why}")
    failed, skipped = len(result.failures) + len(result.errors), len(result.skipped)
    print(f"{result.testsRun - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return failed > 0
