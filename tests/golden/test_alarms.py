#!/usr/bin/env python3
"""golden-alarms without the program: what the cuts keep, and whether an alarm is one whatever `mole` says.

tests/golden/test_alarms.py       PYTHON=NAME: one that has torch and diffusers; without: SKIP, and why
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]
sys.dont_write_bytecode = True

from golden import cuts  # noqa: E402
from python_cases import run_cases, with_torch  # noqa: E402

RUNS = ROOT / "golden" / "runs"


def names_of(run):
    return [tap["name"] for tap in json.loads((RUNS / run / "manifest.json").read_text())["taps"]]


PYTHON = with_torch()


class Cuts(unittest.TestCase):
    def setUp(self):
        self.names = names_of("unet-step")
        kinds = {"norm": "GroupNorm", "norm1": "LayerNorm", "conv1": "Conv2d", "to_q": "MoleLayer"}
        self.kinds = {n: kinds[n.split(".")[-1]] for n in self.names if n.split(".")[-1] in kinds}
        self.cuts = dict(cuts.cuts(self.names, self.kinds, "seed", 3))

    def test_each_is_a_part_in_order_and_comes_once(self):
        place = {name: i for i, name in enumerate(self.names)}
        for label, kept in self.cuts.items():
            places = [place[name] for name in kept]
            self.assertEqual(places, sorted(places), label)
            self.assertEqual(len(places), len(set(places)), label)
        self.assertEqual(len({tuple(kept) for kept in self.cuts.values()}), len(self.cuts))

    def test_what_people_dump(self):
        self.assertEqual(self.cuts["all"], self.names)
        self.assertEqual(self.cuts["result"], ["unet"])
        blocks = r"unet(\.(down_blocks\.\d|up_blocks\.\d|mid_block|conv_in|conv_out))?"
        self.assertEqual(self.cuts["blocks"], [n for n in self.names if re.fullmatch(blocks, n)])
        self.assertEqual(set(self.names) - set(self.cuts["without sinusoid"]), {"unet.time_proj"})
        time = {n for n in self.names if n.startswith("unet.time_")}
        self.assertEqual(set(self.names) - set(self.cuts["without time"]), time)
        self.assertTrue(all(n.endswith((".expert", ".out")) for n in self.cuts["experts"]))
        self.assertTrue(all(n.endswith((".local", ".global")) for n in self.cuts["gates"]))
        rest = [n for n in self.names if ".mole." not in n or n.endswith(".base")]
        self.assertEqual(self.cuts["without experts"], rest)

    def test_by_class(self):
        norms = [n for n in self.names if n.split(".")[-1] in ("norm", "norm1")]
        self.assertEqual(self.cuts["norms"], norms)
        self.assertEqual(self.cuts["group norms"], [n for n in norms if n.endswith(".norm")])

    def test_levels_are_sizes(self):
        self.assertEqual(cuts.level_of("unet.down_blocks.0.resnets.0"), 0)
        self.assertEqual(cuts.level_of("unet.up_blocks.3.resnets.0"), 0)
        self.assertEqual(cuts.level_of("unet.mid_block.resnets.0"), 3)
        self.assertIsNone(cuts.level_of("unet.conv_in"))

    def test_draws_hang_on_the_seed(self):
        self.assertEqual(self.cuts, dict(cuts.cuts(self.names, self.kinds, "seed", 3)))
        other = dict(cuts.cuts(self.names, self.kinds, "another", 3))
        self.assertNotEqual(self.cuts["half, draw 0"], other["half, draw 0"])
        self.assertNotEqual(self.cuts["half, draw 0"], self.cuts["half, draw 1"])
        self.assertEqual(len(self.cuts["half, draw 0"]), len(self.names) // 2)

    def test_of_a_whole_run(self):
        found = dict(cuts.cuts(names_of("run-5-mole"), {}, "seed", 1))
        self.assertEqual(found["result"], ["image"])
        self.assertEqual([n.split("/")[0] for n in found["one step"]], ["step.001"] * 3)

    def test_of_few_taps(self):
        for count in (1, 2, 3):
            self.assertTrue(all(kept for _, kept in cuts.cuts(list("abc"[:count]), {}, "seed", 2)))


@unittest.skipUnless(PYTHON, "no Python here has torch and diffusers (make .venv/ready installs them)")
class Alarms(unittest.TestCase):
    """A `mole` that only pretends."""

    def run_with(self, script, *texts):
        with tempfile.TemporaryDirectory() as folder:
            mole, report = Path(folder) / "mole", Path(folder) / "report.json"
            mole.write_text("#!/bin/sh\n" + script)
            mole.chmod(0o755)
            command = [PYTHON, ROOT / "scripts/golden/alarms.py", "--mole", mole, "--quick", "--json", report, *texts]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            self.assertTrue(report.exists(), run.stderr)
            return run.returncode, run.stdout, json.loads(report.read_text())

    def test_agreement_is_no_alarm(self):
        code, said, rows = self.run_with("echo 'verdict agrees'", "text-encoder: F32, default")
        self.assertEqual({row["result"] for row in rows}, {"agrees"}, said)
        self.assertEqual(said.splitlines()[-1], f"{len(rows)} passed, 0 failed, 0 skipped")
        self.assertEqual(code, 0)

    def test_parts_are_the_whole(self):
        whole = self.run_with("true", "text-encoder: F32, default")[2]
        halves = [self.run_with("true", "--part", f"{k}/2", "text-encoder: F32, default")[2] for k in (0, 1)]
        self.assertEqual(whole[0::2] + whole[1::2], halves[0] + halves[1])

    def test_each_way_of_storing_has_its_turn(self):
        rows = self.run_with("true", "unet-step: BF16, default")[2]
        ways = {(row["stored"], row["inputs"]) for row in rows}
        self.assertEqual(ways, {("kept", False), ("F64", False), ("F32", False), ("kept", True)})
        for cut in ("all", "result"):
            found = [(row["stored"], row["inputs"]) for row in rows if row["cut"] == cut]
            self.assertEqual((len(found), set(found)), (4, ways))
        others = [row["cut"] for row in rows if row["cut"] not in ("all", "result")]
        self.assertEqual(len(others), len(set(others)))
        self.assertGreater(len(others), 2)

    def test_a_difference_is_one(self):
        code, said, rows = self.run_with("echo 'verdict DIFFERS'; exit 1", "text-encoder: BF16, default")
        self.assertEqual({row["result"] for row in rows}, {"alarm"}, said)
        self.assertEqual(code, 1)
        self.assertIn("alarm: all (38 taps): verdict DIFFERS", said)

    def test_so_is_a_refusal(self):
        code, _, rows = self.run_with("echo 'what?' >&2; exit 3", "text-encoder: F64, default")
        self.assertEqual({row["result"] for row in rows}, {"refused"})
        self.assertEqual(code, 1)

    def test_a_loss_must_have_its_cause(self):
        script = "echo 'verdict DIFFERS'; echo '  cause %s'; exit 1"
        code, _, rows = self.run_with(script % "bias", "text-encoder: F32, channels_last")
        self.assertEqual(({row["result"] for row in rows}, code), ({"unnamed"}, 1))
        code, _, rows = self.run_with(script % "variance in one pass", "text-encoder: F32, channels_last")
        self.assertEqual(({row["result"] for row in rows}, code), ({"loss"}, 0))

    def test_sizes_in_the_models_type(self):
        script = "echo 'verdict DIFFERS'; echo '  cause the six numbers are rounded to bfloat16'; exit 1"
        self.assertEqual(self.run_with(script, "text-encoder: BF16, default")[0], 1)
        code, _, rows = self.run_with(script, "sdxl-unet: BF16, default")
        self.assertEqual(({row["result"] for row in rows}, code), ({"loss"}, 0))

    def test_a_pass_without_losses_has_none(self):
        script = "echo 'verdict DIFFERS'; echo '  cause variance'; exit 1"
        code, _, rows = self.run_with(script, "text-encoder: BF16, channels_last")
        self.assertEqual(({row["result"] for row in rows}, code), ({"alarm"}, 1))


if __name__ == "__main__":
    sys.exit(run_cases(sys.modules[__name__]))
