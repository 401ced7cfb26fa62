"""The port's parts against golden data, and its own tools: python3 tests/port/test_port.py

The whole networks are checked by check_golden.py, the mutants by check_mutants.py.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import numpy as np

import cases
import mole
import mutants
import nn
import safetensors_np
import sampler
import torch_random
from safetensors_np import FileError
from tokenizer import Tokenizer
from trace import Trace

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.normpath(os.path.join(HERE, "../../golden"))


def expand(pattern):
    """a.{0..2}.b -> a.0.b, a.1.b, a.2.b."""
    found = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if not found:
        return [pattern]
    start, end = found.span()
    numbers = range(int(found[1]), int(found[2]) + 1)
    return [name for n in numbers for name in expand(f"{pattern[:start]}{n}{pattern[end:]}")]


def golden_json(path):
    with open(os.path.join(GOLDEN, path), encoding="utf-8") as file:
        return json.load(file)


class Parts(unittest.TestCase):
    def test_tokenizer(self):
        for name, folder, least in (
            ("sd15-tiny", "sd15-tiny/tokenizer", 300),
            ("sd21-tiny", "sd21-tiny/tokenizer", 20),
            ("sd21-tiny", "sdxl-tiny/tokenizer_2", 20),
        ):
            tokenizer = Tokenizer(os.path.join(GOLDEN, "models", folder))
            rows = golden_json(f"tokenizer/{name}.json")["strings"]
            self.assertGreater(len(rows), least)
            for row in rows:
                self.assertEqual(tokenizer.ids(row["text"]), row["ids"], row["text"])
                if "full" in row:
                    self.assertEqual(tokenizer.encode(row["text"])[0], row["full"], row["text"])

    def test_single_file_names(self):
        """XL's layers, of the full size, are those that the authors' files name."""
        with open(os.path.join(GOLDEN, "names/sdxl/mole.txt"), encoding="utf-8") as file:
            wanted = {name for line in file for name in expand(line.split()[0])}
        with open(os.path.join(GOLDEN, "names/sdxl/unet/tensors.txt"), encoding="utf-8") as file:
            names = [name for line in file for name in expand(line.split()[0])]
        paths = [n[: -len(".weight")] for n in names if n.endswith(".weight") and ".attentions." in n]
        paths = [p for p in paths if not p.rpartition(".")[2].startswith("norm")]
        named = {"lora_unet_" + mole.single_file_path(path).replace(".", "_") for path in paths}
        self.assertEqual(len(wanted), 722)
        self.assertEqual(named, wanted)

    def test_unused_layer(self):
        """XL's pictures do not depend on the last layer of the first text encoder."""
        case = cases.Case(os.path.join(GOLDEN, "runs/sdxl-run-2-negative"))
        names = frozenset(["prompt_embeds", "add_text_embeds"])
        truth = cases.run(case, wanted=names).tensors

        def spoiled(layer):
            with tempfile.TemporaryDirectory() as folder:
                shutil.copytree(case.path("folder"), os.path.join(folder, "model"))
                path = os.path.join(folder, "model/text_encoder/model.safetensors")
                tensors, metadata = safetensors_np.read(path)
                for name in tensors:
                    if f".layers.{layer}." in name:
                        tensors[name] = np.full_like(tensors[name], np.nan)
                safetensors_np.write(path, tensors, metadata)
                return cases.run(case, wanted=names, model=os.path.join(folder, "model")).tensors

        last = spoiled(2)
        for name in names:
            np.testing.assert_array_equal(last[name], truth[name])
        with np.errstate(invalid="ignore"):
            self.assertTrue(np.isnan(spoiled(1)["prompt_embeds"]).any())

    def test_randn(self):
        manifest = golden_json("sampler/randn/manifest.json")
        path = os.path.join(GOLDEN, "sampler/randn/tensors.safetensors")
        tensors = safetensors_np.read(path)[0]
        vectors = [
            v for v in manifest["vectors"] if (v["function"], v["dtype"]) == ("randn", "float32")
        ]
        self.assertGreater(len(vectors), 60)
        for v in vectors:
            generator = torch_random.Generator(v["seed"])
            x = np.concatenate([generator.randn(n) for n in v["sizes"]])
            if v["stored"] != "all":
                x = np.concatenate([x[:32], x[-32:], x[::97]])
            self.assertEqual(x.tobytes(), tensors[v["tensor"]].tobytes(), v["id"])

    def test_ddim_tables(self):
        tables = golden_json("sampler/ddim-tables.json")
        base = {"beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
        base.update({"beta_start": 0.00085, "beta_end": 0.012})
        checked = 0
        for table in tables["tables"]:
            if table["beta_schedule"] != "squaredcos_cap_v2":
                bits = [int(word, 16) for word in table["alphas_cumprod"].split()]
                got = sampler.alphas_cumprod(table).view(np.uint32)
                self.assertEqual(got.tolist(), bits)
                checked += 1
        self.assertEqual(checked, 4)
        for row in tables["timesteps"]:
            ddim = sampler.Ddim({**base, **row}, row["steps"])
            self.assertEqual(ddim.timesteps, row["timesteps"], row)


class Sums(unittest.TestCase):
    def test_every_order(self):
        random = np.random.RandomState(1)
        a = random.standard_normal((2, 3, 5, 301)).astype(np.float32)
        b = random.standard_normal((2, 3, 301, 4)).astype(np.float32)
        exact = np.matmul(a.astype(np.float64), b)
        seen = set()
        for order in nn.ORDERS:
            nn.use_order(order)
            product, total = nn.matmul(a, b), nn.total(a)
            nn.use_order("blas")
            self.assertEqual(product.dtype, np.float32)
            self.assertEqual(total.shape, (2, 3, 5, 1))
            self.assertLess(np.abs(product - exact).max(), 1e-4, order)
            self.assertLess(np.abs(total[..., 0] - a.sum(-1, dtype=np.float64)).max(), 1e-4, order)
            seen.add(product.tobytes())
        self.assertGreaterEqual(len(seen), 5)  # else two orders are one
        self.assertRaises(ValueError, nn.use_order, "random")

    def test_sequential_is_sequential(self):
        a = np.float32([[1, 2**-24, 2**-24]])
        nn.use_order("sequential")
        forward = nn.matmul(a, np.ones((3, 1), np.float32))[0, 0], nn.total(a)[0, 0]
        nn.use_order("reversed")
        backward = nn.matmul(a, np.ones((3, 1), np.float32))[0, 0], nn.total(a)[0, 0]
        nn.use_order("blas")
        self.assertEqual(forward, (1, 1))
        self.assertEqual(backward, (np.float32(1 + 2**-23),) * 2)


class Files(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def test_safetensors_round_trip(self):
        given = {"b": np.float64([[1, 2], [3, 4]]), "a": np.float32(7), "ids": np.arange(3)}
        safetensors_np.write(self.path("x"), given, {"k": "v"})
        got, metadata = safetensors_np.read(self.path("x"))
        self.assertEqual(list(got), list(given))
        self.assertEqual(metadata, {"k": "v"})
        for name in given:
            np.testing.assert_array_equal(got[name], given[name])

    def test_bfloat16(self):
        values = safetensors_np.read(os.path.join(GOLDEN, "io/bf16.safetensors"))[0]
        rows = golden_json("io/values.json")["tensors"]
        wanted = {row["tensor"]: row for row in rows if row["file"] == "bf16.safetensors"}
        self.assertTrue(wanted)
        for name, row in wanted.items():
            numbers = [float.fromhex(v) for v in row["values"]]
            np.testing.assert_array_equal(values[name].ravel().astype(np.float64), numbers)

    def test_refusals(self):
        safetensors_np.write(self.path("good"), {"x": np.ones(4, np.float32)}, {})
        with open(self.path("good"), "rb") as file:
            data = file.read()
        for name, bad, says in (
            ("empty", b"", "shorter than its own header"),
            ("cut", data[:-1], "needs 16 bytes, the header gives 0..16 of 15"),
            ("length", b"\xff" * 8 + data[8:], "shorter than its own header"),
            ("shape", data.replace(b"[4]", b"[5]"), "needs 20 bytes"),
            ("not-json", data.replace(b"{", b"[", 1), "not a safetensors file"),
            ("type", data.replace(b'"F32"', b'"F99"'), "is of type F99"),
        ):
            with open(self.path(name), "wb") as file:
                file.write(bad)
            with self.assertRaisesRegex(FileError, says):
                safetensors_np.read(self.path(name))
        self.assertRaises(FileError, safetensors_np.read, self.path("absent"))
        nowhere = self.path("no/where")
        self.assertRaises(FileError, safetensors_np.write, nowhere, {}, {})

    def test_case_of_another_file(self):
        shutil.copytree(os.path.join(GOLDEN, "runs/unet-step-plain"), self.path("case"))
        cases.Case(self.path("case"))
        with open(self.path("case/tensors.safetensors"), "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x55")
        with self.assertRaisesRegex(FileError, "not the file that manifest.json describes"):
            cases.Case(self.path("case"))

    def test_trace(self):
        trace = Trace(np.float32, wanted=["a.*"])
        trace.tap("a.b", np.zeros(2, np.float32))
        trace.tap("c", np.zeros(2, np.float32))
        trace.step(3)
        trace.tap_input("a", np.zeros(2, np.float32))
        self.assertEqual(list(trace.tensors), ["a.b"])
        with self.assertRaises(AssertionError):
            trace.tap("a.c", np.zeros(2))  # float64 in a float32 run
        trace.write(self.path("t"), prompt="x")
        about = {"format": "mole-trace", "version": "1", "precision": "f32", "prompt": "x"}
        self.assertEqual(safetensors_np.read(self.path("t"))[1], about)

    def test_command_line(self):
        def port(*options):
            command = [sys.executable, os.path.join(HERE, "port.py"), *options]
            return subprocess.run(command, capture_output=True, text=True)

        case = os.path.join(GOLDEN, "runs/vae-decode")
        done = port("--case", case, "--inputs", "--dump", self.path("v"), "--dtype", "f64")
        self.assertEqual(done.returncode, 0, done.stderr)
        tensors, about = safetensors_np.read(self.path("v"))
        self.assertEqual(about["precision"], "f64")
        names = [name for name in tensors if not name.endswith(".in")]
        self.assertEqual(
            names, [tap["name"] for tap in golden_json("runs/vae-decode/manifest.json")["taps"]]
        )
        np.testing.assert_array_equal(
            tensors["vae.decoder.conv_in.in"], tensors["vae.post_quant_conv"]
        )
        listed = json.loads(port("--list-mutants", "--json").stdout)
        self.assertGreaterEqual(len(listed["mutants"]), 36)
        for bad, status in (
            ([], 2),
            (["--case", case, "--mutant", "none"], 2),
            (["--case", self.path("absent")], 3),
            (["--case", os.path.join(GOLDEN, "ops/mole")], 3),
            (["--case", case, "--model", self.folder.name], 3),
            (["--case", case, "--dump", self.path("no/where")], 3),
        ):
            done = port(*bad)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertNotIn("Traceback", done.stderr)


class Mutants(unittest.TestCase):
    def test_names(self):
        self.assertRaises(ValueError, mutants.use, "none")
        self.assertRaises(ValueError, mutants.mutant, "misspelled")

    def test_one_is_active_only_while_it_runs(self):
        case = cases.Case(os.path.join(GOLDEN, "runs/vae-decode"))
        names = frozenset(["vae.decoder"])
        right = cases.run(case, wanted=names).tensors["vae.decoder"]
        wrong = cases.run(case, mutant="upsample-bilinear", wanted=names).tensors["vae.decoder"]
        self.assertFalse(mutants.mutant("upsample-bilinear"))
        again = cases.run(case, wanted=names).tensors["vae.decoder"]
        self.assertTrue((right == again).all() and (right != wrong).any())


if __name__ == "__main__":
    unittest.main()
