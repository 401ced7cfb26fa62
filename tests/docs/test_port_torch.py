#!/usr/bin/env python3
"""scripts/port_torch.py, the recipe of docs/check-your-port.md: it runs, agrees, and a wrong network does not.

tests/docs/test_port_torch.py       with `mole` on PATH; where no Python has torch and diffusers: SKIP, and why

PYTHON=NAME is tried first, then .venv/bin/python and python3.
"""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
sys.dont_write_bytecode = True

from python_cases import run_cases, with_torch  # noqa: E402

RECIPE = ROOT / "scripts" / "port_torch.py"
CASE = "golden/runs/unet-plain"
# Wrong in one place: GroupNorm's epsilon of the second block.
LOADED = "torch_dtype=torch.float32)\n"
WRONG = LOADED + "unet.down_blocks[1].resnets[0].norm1.eps = 1e-2\n"


PYTHON = with_torch()


@unittest.skipUnless(PYTHON, "no Python here has torch and diffusers (make .venv/ready installs them)")
class Recipe(unittest.TestCase):
    def compared(self, text):
        """Run the recipe with `text`, compare what it dumped: exit code and output."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts/mole_trace"), "OMP_NUM_THREADS": "1"}
        with tempfile.TemporaryDirectory() as folder:
            trace = Path(folder) / "mine.safetensors"
            command = [PYTHON, "-c", text, trace]
            ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            self.assertEqual(ran.returncode, 0, ran.stderr)
            said = subprocess.run(
                ["mole", "compare", CASE, trace], cwd=ROOT, capture_output=True, text=True, check=False
            )
        return said.returncode, said.stdout + said.stderr

    def test_the_recipe_agrees(self):
        code, said = self.compared(RECIPE.read_text())
        self.assertEqual(code, 0, said)
        self.assertIn("0 differ", said)
        self.assertNotIn("missing", said)

    def test_a_wrong_network_differs(self):
        text = RECIPE.read_text()
        self.assertIn(LOADED, text)
        code, said = self.compared(text.replace(LOADED, WRONG))
        self.assertEqual(code, 1, said)
        self.assertRegex(said, r"culprit +\#\d+ unet\.down_blocks\.1\.resnets\.0\.norm1 ")


class Page(unittest.TestCase):
    def test_the_recipe_has_twelve_lines(self):
        lines = [line for line in RECIPE.read_text().splitlines() if line.strip()]
        self.assertLessEqual(len(lines), 12)


if __name__ == "__main__":
    sys.exit(run_cases(sys.modules[__name__]))
