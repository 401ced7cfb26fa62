"""The writer and the reader, with NumPy alone."""

import io
import json
import os
import sys
import tempfile
import unittest
from contextlib import redirect_stderr, redirect_stdout

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import numpy as np

import mole_trace
from mole_trace.__main__ import main


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder, self.path = folder.name, os.path.join(folder.name, "t.safetensors")

    def only_file(self, *names):
        self.assertEqual(sorted(os.listdir(self.folder)), sorted(names))


class WriterTest(Case):
    def test_order_names_values_metadata(self):
        x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
        with mole_trace.Writer(self.path, prompt="a hand") as trace:
            trace.tap("z", x.transpose(2, 0, 1))  # not contiguous
            with trace.step(0):
                trace.tap("a", x)
            with trace.step(12):
                trace.tap("a", -x)
            trace.tap("a", np.float32(3))
            trace.tap("empty", np.zeros((2, 0), np.float32))
            trace.tap("ids", [[1, 2]])
        arrays, about = mole_trace.read(self.path)
        self.assertEqual(list(arrays), ["z", "step.000/a", "step.012/a", "a", "empty", "ids"])
        np.testing.assert_array_equal(arrays["z"], x.transpose(2, 0, 1))
        np.testing.assert_array_equal(arrays["step.012/a"], -x)
        self.assertEqual((arrays["a"].shape, float(arrays["a"])), ((), 3.0))
        self.assertEqual(arrays["empty"].shape, (2, 0))
        self.assertEqual((arrays["ids"].dtype, arrays["ids"].tolist()), (np.int64, [[1, 2]]))
        expected = {"format": "mole-trace", "version": "1", "precision": "f32", "prompt": "a hand"}
        self.assertEqual(about, expected)
        self.only_file("t.safetensors")

    def test_format(self):
        mole_trace.write(self.path, {"x": np.float32([1, 2])})
        with open(self.path, "rb") as file:
            data = file.read()
        length = int.from_bytes(data[:8], "little")
        self.assertEqual(length % 8, 0)
        header = json.loads(data[8 : 8 + length])
        self.assertEqual(header["x"], {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]})
        self.assertEqual(data[8 + length :], np.array([1, 2], "<f4").tobytes())

    def test_precision(self):
        mole_trace.write(self.path, {"h": np.float16([0.1]), "x": np.float32([0.1])})
        arrays, about = mole_trace.read(self.path)
        self.assertEqual(float(arrays["h"][0]), float(np.float16(0.1)))
        self.assertEqual((arrays["h"].dtype, about["precision"]), (np.float32, "f32"))
        mole_trace.write(self.path, {"d": np.array([0.1]), "x": np.float32([0.1])})
        arrays, about = mole_trace.read(self.path)
        self.assertEqual((arrays["x"].dtype, about["precision"]), (np.float64, "f64"))
        self.assertEqual(float(arrays["d"][0]), 0.1)

    def test_big_endian(self):
        mole_trace.write(self.path, {"x": np.array([1.5], ">f4"), "i": np.array([3], ">i4")})
        arrays, _ = mole_trace.read(self.path)
        self.assertEqual((arrays["x"].tolist(), arrays["i"].tolist()), ([1.5], [3]))

    def test_not_finite(self):
        x = np.float32([np.nan, np.inf, -np.inf, -0.0])
        mole_trace.write(self.path, {"x": x})
        self.assertEqual(mole_trace.read(self.path)[0]["x"].tobytes(), x.tobytes())

    def test_refusals(self):
        one = np.ones(1, np.float32)
        for bad, says in (
            (lambda t: (t.tap("x", one), t.tap("x", one)), "comes twice"),
            (lambda t: (t.tap("x", one), t.tap("y", np.ones(1))), "is float64"),
            (lambda t: t.tap("", one), "no name"),
            (lambda t: t.tap("__metadata__", one), "no name"),
            (lambda t: t.tap(3, one), "no name"),
            (lambda t: t.tap("x", np.ones(1, complex)), "cannot hold"),
            (lambda t: t.tap("x", np.array([None])), "cannot hold"),
            (lambda t: (t.close(), t.tap("x", one)), "after the end"),
        ):
            with self.assertRaisesRegex(mole_trace.TraceError, says):
                with mole_trace.Writer(self.path) as trace:
                    bad(trace)
            if says != "after the end":
                self.only_file()
        with self.assertRaisesRegex(mole_trace.TraceError, "precision"):
            mole_trace.Writer(self.path, precision="f16")
        with self.assertRaisesRegex(mole_trace.TraceError, "cannot be written"):
            mole_trace.Writer(os.path.join(self.folder, "no", "t"))

    def test_a_failing_program_leaves_nothing(self):
        with self.assertRaises(RuntimeError):
            with mole_trace.Writer(self.path) as trace:
                trace.tap("x", np.ones(1))
                raise RuntimeError
        self.only_file()

    def test_a_step_ends(self):
        with mole_trace.Writer(self.path) as trace:
            with self.assertRaises(KeyError):
                with trace.step(1):
                    raise KeyError
            trace.tap("x", np.ones(1))
        self.assertEqual(list(mole_trace.read(self.path)[0]), ["x"])


class ReaderTest(Case):
    def test_refusals(self):
        mole_trace.write(self.path, {"x": np.ones(4)})
        with open(self.path, "rb") as file:
            data = file.read()
        for bad in (
            b"",
            data[:20],
            data[:-1],
            b"\xff" * 8 + data[8:],
            data.replace(b"F64", b"F99"),
        ):
            with open(self.path, "wb") as file:
                file.write(bad)
            self.assertRaises(mole_trace.TraceError, mole_trace.read, self.path)
        self.assertRaises(mole_trace.TraceError, mole_trace.read, self.folder + "/absent")


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


class CommandTest(Case):
    def run_main(self, *options):
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = main(list(options))
        return status, out.getvalue(), err.getvalue()

    def test_convert_and_list(self):
        source = os.path.join(self.folder, "in.npz")
        np.savez(source, b=np.float32([[1, 2]]), a=np.float32(3))
        self.assertEqual(self.run_main("convert", source, self.path)[0], 0)
        self.assertEqual(list(mole_trace.read(self.path)[0]), ["b", "a"])
        status, out, _ = self.run_main("list", self.path)
        self.assertEqual(status, 0)
        self.assertIn("# precision: f32\nb", out.replace("# version: 1\n", ""))
        self.assertIn("b (1, 2) float32\na () float32\n", out)
        folder = os.path.join(self.folder, "in")
        os.mkdir(folder)
        np.save(os.path.join(folder, "unet.conv_in.npy"), np.ones(2))
        self.assertEqual(self.run_main("convert", folder, self.path)[0], 0)
        self.assertEqual(list(mole_trace.read(self.path)[0]), ["unet.conv_in"])

    def test_pickles_are_not_loaded(self):
        path, trap = os.path.join(self.folder, "p.npz"), os.path.join(self.folder, "trap")
        np.savez(path, x=np.array([Trap(trap)], object))
        self.assertEqual(self.run_main("convert", path, self.path)[0], 3)
        self.only_file("p.npz")

    def test_bad_input(self):
        path = os.path.join(self.folder, "x.npy")
        np.save(path, np.ones(2))
        pickled = os.path.join(self.folder, "p.npz")
        np.savez(pickled, x=np.array([{}], object))
        empty = os.path.join(self.folder, "empty")
        os.mkdir(empty)
        for options in (
            ("list", os.path.join(self.folder, "absent")),
            ("convert", os.path.join(self.folder, "absent"), self.path),
            ("convert", path, self.path),
            ("convert", pickled, self.path),
            ("convert", empty, self.path),
            ("list", path),
        ):
            status, out, err = self.run_main(*options)
            self.assertEqual((status, out, err.count("\n")), (3, "", 1), (options, err))
            self.only_file("x.npy", "p.npz", "empty")


if __name__ == "__main__":
    unittest.main()
