#!/usr/bin/env python3
"""The measuring scripts, with programs that only pretend to measure: silent and status 0, or what is wrong.

tests/docs/test_performance.py [TEXT...]      some: tests with TEXT in their name
"""

import copy
import io
import json
import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
sys.dont_write_bytecode = True

import bench_common as common  # noqa: E402
import bench_torch  # noqa: E402
import growth_plots as plots  # noqa: E402
import performance_page  # noqa: E402

# A mole whose UNet takes 0.5 s for each picture of 512 x 512, and whose yardstick gives 200 GFLOP/s.
MOLE = """#!/bin/sh
[ -z "${OPENBLAS_CORETYPE:-}" ] || { echo "mole: OPENBLAS_CORETYPE is set" >&2; exit 3; }
command=$1; shift
name= json= profile= model= width=512 batch=1
while [ $# -gt 0 ]; do
    case $1 in
        --serve) name=$2 ;; --json) json=$2 ;; --profile-json) profile=$2 ;; --width) width=$2 ;; --batch) batch=$2 ;;
        -o) echo picture >"$2" ;;
        --model) model=$2; [ "$2" != synth:none ] || { echo "mole: no model synth:none" >&2; exit 3; } ;;
    esac
    shift
done
case $command in
inspect) printf 'unet\\n  parameters    1000000\\nvae_decoder\\n  parameters  500000\\n' ;;
generate)
    [ "$model" != synth:large ] || { echo "mole: no memory" >&2; exit 3; }
    [ -z "$profile" ] || echo '{"format": "mole profile 1", "kinds": []}' >"$profile" ;;
bench)
    if [ -n "$json" ]; then cat "${0%/*}/bench.json" >"$json"; exit; fi
    echo "ready $((width * width * batch / 1000)) 3000000000"
    while read -r word; do
        case $word in
            yardstick) echo 200.5 ;;
            go) echo "$((width * width * batch / 524288)).5 7 $((3000000000 + width * width * 1000))" ;;
        esac
    done ;;
esac
"""

# A Python with PyTorch whose UNet takes 2 s, or 3 s with the allocator as it is; PEAK is its memory.
PYTHON = """#!/bin/sh
if [ "$1" = -c ]; then
    echo '{"torch": "9.9", "diffusers": "8", "transformers": "7",' \\
        '"blas": "b", "onednn": "1", "vectors": "v"}'
    exit
fi
echo "ready 0 3000000000"
while read -r word; do
    echo "${MALLOC_TOP_PAD_:+2}${MALLOC_TOP_PAD_:-3}" | sed 's/268435456/.0 9 PEAK/; s/^3$/3.0 9 PEAK/'
done
"""


def result(name, seconds, gflop):
    rate = gflop / seconds
    share = rate / 200
    return {
        "name": name,
        "gflop": gflop,
        "seconds": [seconds],
        "yardstick_gflops": [200.0],
        "median_s": seconds,
        "min_s": seconds,
        "max_s": seconds,
        "gflops": rate,
        "share": share,
        "faults": 0,
    }


BENCH = {
    "format": "mole bench 1",
    "machine": {"cpu": "c", "cores": 2, "blas": "OpenBLAS 9", "kernel": "K", "compiler": "cc 1"},
    "results": [
        result("op.conv2d.64.tiles", 0.3, 30),
        result("op.conv2d.64.winograd", 0.2, 30),
    ],
}


def rounds(*rows):
    """Rows of seconds of mole, tuned, stock, and the yardstick."""

    def row(seconds, yardstick):
        return {
            "seconds": seconds,
            "faults": 3,
            "peak_rss_bytes": 1100,
            "yardstick_gflops": yardstick,
        }

    return [
        {
            "programs": {"mole": row(a, y), "tuned": row(b, y), "stock": row(c, y)},
            "yardstick_gflops": y,
        }
        for a, b, c, y in rows
    ]


def component(*rows):
    measured = rounds(*rows)
    return {
        "gflop": 100.0,
        "weights_bytes": {"mole": 1000, "torch": 1000},
        "notes": [],
        "rounds": measured,
        **bench_torch.figures(measured, 100.0),
    }


class Figures(unittest.TestCase):
    def test_a_disturbed_round_does_not_count(self):
        def a_round(yardstick, others=0.0):
            return {"yardstick_gflops": yardstick, "programs": {"mole": {"others": others}, "tuned": {}}}

        self.assertEqual(common.counted([a_round(y) for y in (100, 84, 85, 99)]), [0, 2, 3])
        self.assertEqual(common.counted([]), [])
        # All rounds equally slow: busy from the first to the last.
        self.assertEqual(common.counted([a_round(y) for y in (50, 50)], idle=100), [])
        self.assertEqual(common.counted([a_round(100, 0.04), a_round(100, 0.06)]), [0])

    def test_what_others_used_is_seen(self):
        """A program that waits while another works."""
        waits = ["sh", "-c", "echo ready; while read -r w; do sleep 0.5; echo 0.5 0 0; done"]
        with common.Child("waits", waits) as child:
            works = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            try:
                self.assertGreater(child.go()["others"], 0.4 / (os.cpu_count() or 1))
            finally:
                works.kill()
                works.wait()

    def test_ratios_are_taken_within_a_round(self):
        found = component((1, 2, 4, 100), (3, 3, 3, 100), (8, 10, 16, 100), (99, 1, 1, 50))
        self.assertEqual(found["counted"], 3)
        self.assertEqual(found["ratio"]["tuned"], {"median": 0.8, "min": 0.5, "max": 1.0})
        self.assertEqual(found["ratio"]["stock"]["median"], 0.5)
        self.assertEqual(found["seconds"]["mole"], {"median": 3, "min": 1, "max": 8})
        self.assertEqual(found["share"]["max"], 1.0)
        self.assertEqual(found["peak_rss_bytes"]["mole"], 1100)

    def test_laws(self):
        function, (power, factor) = plots.fit(plots.POWER, [1, 2, 4], [3, 12, 48])
        self.assertAlmostEqual(power, 2)
        self.assertAlmostEqual(factor, 3)
        self.assertAlmostEqual(function(8), 192)
        function, (slope, start) = plots.fit(plots.LINE, [0, 1, 3], [5, 7, 11])
        self.assertAlmostEqual(slope, 2)
        self.assertAlmostEqual(start, 5)
        self.assertIsNone(plots.fit(plots.POWER, [1, 2], [0, 1]))
        self.assertIsNone(plots.fit(plots.LINE, [1], [1]))

    def test_verdicts(self):
        most, least = performance_page.MOST, performance_page.LEAST
        for value, sense, goal, aim, word in (
            (0.65, most, 0.85, 0.65, "aim reached"),
            (0.66, most, 0.85, 0.65, "reached"),
            (0.86, most, 0.85, 0.65, "**missed**"),
            (0.95, least, 0.75, 0.95, "aim reached"),
            (0.75, least, 0.75, 0.95, "reached"),
            (0.74, least, 0.75, 0.95, "**missed**"),
            (1.0, most, 1.0, None, "reached"),
            (None, most, 1.0, None, "not measured"),
        ):
            self.assertEqual(performance_page.verdict(value, sense, goal, aim), word)


class Page(unittest.TestCase):
    def stored(self):
        parts = {key: component((1, 2, 4, 100)) for key in bench_torch.COMPONENTS}
        return {"format": common.FORMAT, "torch": {"components": parts}, "bench": BENCH}

    def row(self, stored, start):
        return next(r for r in performance_page.page(stored).splitlines() if r.startswith(start))

    def test_nothing_measured(self):
        text = performance_page.page({"format": common.FORMAT})
        self.assertEqual(text.count("| not measured |"), len(performance_page.GOALS))
        self.assertNotIn("reached", text)

    def test_figures_come_from_the_json(self):
        stored = self.stored()
        line = "| UNet, batch 2: time over PyTorch's "
        self.assertTrue(self.row(stored, line).endswith("| 0.50 | aim reached |"))
        stored["torch"]["components"]["unet.b2"]["ratio"]["tuned"]["median"] = 0.9
        self.assertTrue(self.row(stored, line).endswith("| **missed** |"))
        memory = "| UNet step, batch 1: peak memory over weights "
        self.assertTrue(self.row(stored, memory).endswith("| 1.10 | reached |"))
        stored["torch"]["components"]["unet.b1"]["peak_rss_bytes"]["mole"] = 1210
        self.assertTrue(self.row(stored, memory).endswith("| 1.21 | **missed** |"))
        self.assertIn("| `op.conv2d.64` | 200 | 300 | 1.50 |", performance_page.page(stored))

    def test_other_processors_stand_beside(self):
        stored, held = self.stored(), self.stored()
        stored["machine"] = {"cpu": "One", "family": "family 1 model 2", "vectors": ["avx2", "avx512f"]}
        held["machine"] = {"cpu": "Two", "family": "", "vectors": ["avx2"]}
        held["torch"]["settings"] = {"avx2": True}
        del held["torch"]["components"]["unet.b1"]
        text = performance_page.page(stored, [held])
        self.assertIn("One, family 1 model 2, AVX-512 | Two, , AVX2, held to AVX2 |", text)
        self.assertIn("| UNet step, batch 1 | 0.50 (0.50 to 0.50); 1 s | - |", text)

    def test_stock_may_be_left_out(self):
        stored = self.stored()
        part = stored["torch"]["components"]["unet_mole.b2"]
        part["notes"] = ["stock allocator: left out"]
        for r in part["rounds"]:
            del r["programs"]["stock"]
        part.update(bench_torch.figures(part["rounds"], 100.0))
        self.assertIn("batch 2: stock allocator: left out.", performance_page.page(stored))


class Programs(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.at = Path(self.folder.name)
        (self.at / "mole").write_text(MOLE)
        (self.at / "mole").chmod(0o755)
        (self.at / "bench.json").write_text(json.dumps(BENCH))

    def run_script(self, *words, status=0):
        named = ["--json", self.at / "p.json"]
        done = subprocess.run(
            [ROOT / "scripts" / words[0], *named, *words[1:]],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "OPENBLAS_CORETYPE": "Haswell", "PYTHONDONTWRITEBYTECODE": "1"},
        )
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def bench(self, *words, status=0):
        page = ["--mole", self.at / "mole", "--page", self.at / "page.md", "--rounds", "1"]
        return self.run_script("bench.sh", *page, *words, status=status)

    def check(self, status):
        return self.run_script(
            "performance_page.py", "--page", self.at / "page.md", "--check", status=status
        )

    def test_from_measuring_to_the_page(self):
        parts = [w for p in ("bench", "growth", "runs", "page") for w in ("--only", p)]
        self.bench(*parts)
        self.check(0)
        stored = json.loads((self.at / "p.json").read_text())
        self.assertEqual(stored["bench"], BENCH)
        self.assertEqual(stored["runs"]["512"]["weights_bytes"], 6000000)
        self.assertGreater(stored["runs"]["512"]["peak_rss_bytes"], 0)
        series = stored["growth"]["series"]
        self.assertEqual(
            {k: [p["x"] for p in v] for k, v in series.items()},
            {
                "resolution": [256, 384, 512, 768, 1024],
                "vae": [256, 384, 512, 768],
                "batch": [1, 2, 4],
                "rank": [0, 16, 64, 256, 512],
                "experts": [0, 1, 2, 4],
            },
        )
        self.assertEqual(series["batch"][2]["seconds"], [2.5])
        self.assertEqual(series["rank"][0]["component"], "unet")
        self.assertEqual(series["rank"][1]["component"], "unet_mole")
        self.assertIn("--expert", series["experts"][3]["options"])
        images = sorted((self.at / "img").iterdir())
        self.assertEqual([i.name for i in images], sorted(f"growth-{k}.svg" for k in series))
        for image in images:
            xml.etree.ElementTree.parse(image)
        # Again: what is there is not measured anew.
        self.assertNotIn("resolution 256", self.bench("--only", "growth"))
        self.assertIn("batch 4", self.bench("--only", "growth", "--again"))
        # The check can fail: another page, another plot, another number, no plot.
        page, image = self.at / "page.md", images[0]
        text, drawn = page.read_text(), image.read_text()
        page.write_text(text.replace("## Goals", "## Gaols"))
        self.assertIn("expected: ## Goals", self.check(1))
        page.write_text(text)
        image.write_text(drawn.replace("circle", "square", 1))
        self.check(1)
        image.write_text(drawn)
        self.check(0)
        changed = copy.deepcopy(stored)
        changed["runs"]["512"]["seconds"] += 100
        (self.at / "p.json").write_text(json.dumps(changed))
        self.check(1)
        (self.at / "p.json").write_text(json.dumps(stored))
        image.unlink()
        self.check(1)

    def test_bad_input(self):
        self.assertIn("no such file", self.check(3))
        (self.at / "p.json").write_text("{}")
        self.assertIn("expected format", self.check(3))
        (self.at / "p.json").write_text("{")
        self.assertIn("no JSON", self.check(3))
        (self.at / "p.json").unlink()
        self.bench("--only", "nothing", status=2)
        self.bench("--rounds", "0", status=2)
        self.bench("--unknown", "x", status=2)
        self.bench("--only", status=2)
        mole = ["--mole", self.at / "mole"]
        said = self.run_script("growth.py", *mole, "--model", "synth:none", status=3)
        self.assertIn("mole: no model synth:none", said)
        self.run_script("bench_runs.py", *mole, "--model", "synth:none", status=3)
        said = self.run_script("bench_runs.py", *mole, "--model", "synth:large", status=3)
        self.assertIn("mole: no memory", said)
        self.run_script("growth.py", "--mole", self.at / "none", status=3)
        (self.at / "bench.json").write_text('{"format": "another"}')
        self.assertIn("mole bench 1", self.bench("--only", "bench", status=3))
        self.assertFalse((self.at / "p.json").exists())

    def python(self, peak):
        (self.at / "python").write_text(PYTHON.replace("PEAK", str(peak)))
        (self.at / "python").chmod(0o755)
        return ["--mole", self.at / "mole", "--python", self.at / "python", "--rounds", "2"]

    def components(self):
        return json.loads((self.at / "p.json").read_text())["torch"]["components"]

    def test_in_turns_with_torch(self):
        words = self.python(5000)
        said = self.run_script("bench_torch.py", *words)
        self.assertIn("unet.b2 round 2", said)
        found = self.components()
        self.assertEqual([*found, bench_torch.BY_NAME], list(bench_torch.COMPONENTS))
        ratios = found["unet.b2"]["ratio"]
        self.assertEqual([ratios[w]["median"] for w in ("tuned", "stock")], [0.75, 0.5])
        self.assertEqual(found["unet.b1"]["ratio"]["tuned"]["median"], 0.25)
        self.assertEqual(found["unet_mole.b2"]["weights_bytes"]["torch"], 3000000000)
        orders = [list(r["programs"]) for r in found["unet.b2"]["rounds"]]
        self.assertEqual(orders, [["mole", "tuned", "stock"], ["stock", "tuned", "mole"]])
        self.assertIn("there already", self.run_script("bench_torch.py", *words))
        # No memory for the third program: it is left out, which is said and kept.
        said = self.run_script("bench_torch.py", *self.python(10**15), "--only", "unet.b2")
        self.assertIn("left out", said)
        self.assertNotIn("unet.b1 round", said)
        found = self.components()
        self.assertNotIn("stock", found["unet.b2"]["ratio"])
        self.assertIn("stock", found["unet.b1"]["ratio"])
        self.bench("--only", "page")
        self.assertIn("PyTorch 9.9", (self.at / "page.md").read_text())

    def test_one_after_the_other(self):
        """XL, of which memory does not hold two: only where it is named, and beside what is there."""
        words = self.python(5000)
        self.run_script("bench_torch.py", *words, "--only", "unet.b1")
        said = self.run_script("bench_torch.py", *words, "--only", bench_torch.BY_NAME)
        self.assertIn("tuned 2.0 s", said)
        found = self.components()
        self.assertEqual(list(found), ["unet.b1", bench_torch.BY_NAME])
        self.assertEqual(found[bench_torch.BY_NAME]["counted"], 2)
        self.assertEqual(found[bench_torch.BY_NAME]["ratio"]["tuned"]["median"], 0.75)
        self.bench("--only", "page")
        self.assertIn("memory does not hold both", (self.at / "page.md").read_text())

    def test_without_torch(self):
        (self.at / "python").write_text("#!/bin/sh\necho 'No module named torch' >&2\nexit 1\n")
        (self.at / "python").chmod(0o755)
        words = ["--mole", self.at / "mole", "--python", self.at / "python"]
        said = self.run_script("bench_torch.py", *words, status=3)
        self.assertIn("PyTorch, diffusers and transformers are needed", said)


if __name__ == "__main__":
    said = io.StringIO()
    tests = unittest.defaultTestLoader
    tests.testNamePatterns = [f"*{text}*" for text in sys.argv[1:]] or None
    chosen = tests.loadTestsFromModule(sys.modules["__main__"])
    good = unittest.TextTestRunner(stream=said).run(chosen).wasSuccessful()
    if not good:
        print(said.getvalue(), end="")
    sys.exit(not good)
