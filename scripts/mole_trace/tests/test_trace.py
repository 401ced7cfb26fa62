"""The writer and the reader, with NumPy alone."""

import io
import json
import os
import sys
import tempfile
import unittest
import zipfile
from contextlib import redirect_stderr, redirect_stdout

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import numpy as np

import mole_trace
from mole_trace.__main__ import main

try:
    import ml_dtypes
except ImportError:
    ml_dtypes = None


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

    def header(self):
        with open(self.path, "rb") as file:
            return json.loads(file.read(int.from_bytes(file.read(8), "little")))

    def test_every_type_is_kept(self):
        kinds = "f8 F64 f4 F32 f2 F16 i8 I64 i4 I32 i2 I16 i1 I8 u8 U64 u4 U32 u2 U16 u1 U8 b1 BOOL"
        kinds = (kinds + " c8 C64").split()
        given = {k: np.array([0, 1, 100], "<" + k) for k in kinds[::2]}
        given.update({"big " + k: np.array([0, 1, 100], ">" + k) for k in kinds[::2]})
        mole_trace.write(self.path, given)
        header, (arrays, about) = self.header(), mole_trace.read(self.path)
        for k, code in zip(kinds[::2], kinds[1::2]):
            for name in (k, "big " + k):
                self.assertEqual(header[name]["dtype"], code)
                self.assertEqual(arrays[name].dtype, np.dtype(k))
                self.assertEqual(arrays[name].tolist(), np.array([0, 1, 100], k).tolist())
        self.assertEqual(mole_trace.types(self.path)[0]["big f2"], ((3,), "F16"))

    def test_precision(self):
        half, single, double = np.float16([0.1]), np.float32([0.1]), np.array([0.1])
        taps = {"h": half, "x": single, "ids": np.array([7]), "g": half}
        for precision, said, kinds in (
            (None, "f16", "F16 F32 I64 F16"),
            ("f32", "f32", "F32 F32 I64 F32"),
            ("f64", "f64", "F64 F64 I64 F64"),
        ):
            mole_trace.write(self.path, taps, precision=precision)
            arrays, about = mole_trace.read(self.path)
            self.assertEqual(about["precision"], said)
            self.assertEqual([self.header()[n]["dtype"] for n in taps], kinds.split())
            for name, array in taps.items():
                self.assertEqual(arrays[name].tolist(), array.tolist())
        mole_trace.write(self.path, {"d": double, "x": single})
        self.assertEqual([self.header()[n]["dtype"] for n in "dx"], ["F64", "F32"])

    def test_bits(self):
        """bfloat16 and the types of 8 bits, from libraries whose types NumPy does not know."""
        brain = np.uint16([0x3F80, 0xC040, 0x7F80, 0x0001, 0x8000])
        with mole_trace.Writer(self.path) as trace:
            trace.tap("b", brain, dtype="BF16")
            trace.tap("big", brain.astype(">u2"), dtype="BF16")
            trace.tap("scalar", np.uint16(0x3F80), dtype="BF16")
            trace.tap("void", brain.view("V2"))  # what numpy.load makes of bfloat16
            trace.tap("e4", np.uint8([0x38, 0xFE, 0x01, 0x80]), dtype="F8_E4M3")
            trace.tap("e5z", np.uint8([0x40, 0x7F, 0x81]), dtype="F8_E5M2FNUZ")
        arrays, about = mole_trace.read(self.path)
        self.assertEqual(about["precision"], "bf16")
        for name in ("b", "big", "void"):
            self.assertEqual(self.header()[name]["dtype"], "BF16")
            self.assertEqual(arrays[name].tolist(), [1, -3, np.inf, 2.0**-133, 0])
        self.assertEqual((arrays["scalar"].shape, float(arrays["scalar"])), ((), 1))
        self.assertEqual(arrays["e4"].tolist(), [1, -448, 2.0**-9, 0])
        self.assertEqual(arrays["e5z"].tolist(), [1, 57344, -(2.0**-17)])
        with mole_trace.Writer(self.path, precision="f64") as trace:
            trace.tap("b", brain, dtype="BF16")
        arrays, _ = mole_trace.read(self.path)
        self.assertEqual((self.header()["b"]["dtype"], arrays["b"][1]), ("F64", -3))
        for array, dtype in ((np.float16([1]), "BF16"), (np.uint8([1]), "BF16"), (brain, "BF17")):
            with self.assertRaisesRegex(mole_trace.TraceError, "no bits of the type"):
                with mole_trace.Writer(self.path) as trace:
                    trace.tap("b", array, dtype=dtype)

    @unittest.skipIf(ml_dtypes is None, "ml_dtypes is not installed")
    def test_ml_dtypes(self):
        values, taps = [0, 0.5, -1.5, 2], {}
        for kind in "bfloat16 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz".split():
            taps[kind] = np.array(values).astype(getattr(ml_dtypes, kind))
        mole_trace.write(self.path, taps)
        codes = [self.header()[name]["dtype"] for name in taps]
        self.assertEqual(codes, "BF16 F8_E4M3 F8_E5M2 F8_E4M3FNUZ F8_E5M2FNUZ".split())
        for array in mole_trace.read(self.path)[0].values():
            self.assertEqual(array.tolist(), values)
        with self.assertRaisesRegex(mole_trace.TraceError, "cannot hold"):
            mole_trace.write(self.path, {"x": np.array([1]).astype(ml_dtypes.int4)})

    def test_metadata_null(self):
        mole_trace.write(self.path, {"x": np.ones(1)})
        with open(self.path, "rb") as file:
            data = file.read()
        begin, end = data.index(b"{", 9), data.index(b"}") + 1
        data = data[:begin] + b"null".ljust(end - begin) + data[end:]
        with open(self.path, "wb") as file:
            file.write(data)
        arrays, about = mole_trace.read(self.path)
        self.assertEqual((arrays["x"].tolist(), about), ([1], {}))

    def test_not_finite(self):
        x = np.float32([np.nan, np.inf, -np.inf, -0.0])
        mole_trace.write(self.path, {"x": x})
        self.assertEqual(mole_trace.read(self.path)[0]["x"].tobytes(), x.tobytes())

    def test_refusals(self):
        one = np.ones(1, np.float32)
        for bad, says in (
            (lambda t: (t.tap("x", one), t.tap("x", one)), "comes twice"),
            (lambda t: t.tap("x", np.array(["text"])), "cannot hold"),
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
        with self.assertRaisesRegex(mole_trace.TraceError, "is float64"):
            mole_trace.write(self.path + ".wide", {"x": np.ones(1)}, precision="f32")
        self.only_file("t.safetensors")
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
            if b"F99" not in bad:
                self.assertRaises(mole_trace.TraceError, mole_trace.types, self.path)
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
        self.assertIn("b (1, 2) F32\na () F32\n", out)
        folder = os.path.join(self.folder, "in")
        os.mkdir(folder)
        np.save(os.path.join(folder, "unet.conv_in.npy"), np.ones(2))
        self.assertEqual(self.run_main("convert", folder, self.path)[0], 0)
        self.assertEqual(list(mole_trace.read(self.path)[0]), ["unet.conv_in"])

    def test_convert_leaves_out_what_is_no_array_of_numbers(self):
        source = os.path.join(self.folder, "in.npz")
        odd = {"waves": np.ones(1, "c8"), "text": np.array(["x"])}
        odd["objects"] = np.array([{}], object)
        np.savez(source, x=np.float16([1]), b=np.uint16([0x3F80]).view("V2"), **odd)
        with zipfile.ZipFile(source, "a") as archive:
            archive.writestr("README.txt", "made by hand")
        status, out, err = self.run_main("convert", source, self.path)
        self.assertEqual((status, err), (0, ""))
        said = "waves (complex64), text (<U1), objects (Python objects), README.txt (no array)"
        self.assertEqual(out, f"{self.path}: 2 taps; left out: {said}\n")
        self.assertEqual(
            mole_trace.types(self.path)[0], {"x": ((1,), "F16"), "b": ((1,), "BF16")}
        )

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
