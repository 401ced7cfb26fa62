"""The binding itself: it says of every function what mole.h says, and finds the library it is told to."""

import ctypes
import os
import pathlib
import re
import tempfile
import unittest
from unittest import mock

import mole_ref
from mole_ref import layer, library, model, sampler
from golden import ROOT

HEADER = re.sub(r"/\*.*?\*/", "", (ROOT / "ref/api/mole.h").read_text(), flags=re.S)
ENUMS = set(re.findall(r"\}\s*(\w+);", "".join(re.findall(r"typedef enum[^;]*;", HEADER))))


def letter(parameter):
    """The letter of SIGNATURES for a parameter's or a result's type."""
    words = parameter.replace("MOLE_API", "").strip()
    if "mole_error_t" in words:
        return "e"
    if re.fullmatch(r"const char \*(\w+)?", words):
        return "s"
    if "*" in words:
        return "p"
    kind = words.split()[0]
    plain = {"size_t": "z", "int": "i", "int32_t": "i", "double": "d", "float": "f", "uint64_t": "u",
             "void": "v", **{enum: "i" for enum in ENUMS}}
    # A function passed by name is a pointer.
    return "p" if kind == "mole_tap_t" else plain[kind]


def signatures():
    """name -> letters, as mole.h declares its functions"""
    found = {}
    for declaration in re.findall(r"MOLE_API ([^;{]*\([^;{]*\));", HEADER):
        head, parameters = re.match(r"(.*?)\((.*)\)$", declaration, re.S).groups()
        name = re.search(r"(\w+)$", head).group(1)
        returned = letter(head[:-len(name)].strip() + (" x" if "*" in head else ""))
        if returned == "p" or "*" in head:
            returned = "s" if "const char" in head else "p"
        letters = "" if parameters.strip() == "void" else "".join(map(letter, parameters.split(",")))
        found[name] = f"{returned}:{letters}"
    return found


class Binding(unittest.TestCase):
    def test_signatures_are_the_headers(self):
        declared = signatures()
        self.assertGreater(len(declared), 50)
        # Operations may come later to Python than to C; everything else is there.
        operations = {"mole_" + path.name for path in (ROOT / "golden/ops").iterdir()}
        self.assertLessEqual(set(declared) - set(library.SIGNATURES), operations)
        # A path that may be NULL, and text with its length, are text all the same.
        self.assertLessEqual(library.SIGNATURES.items(), declared.items())

    def test_structures_are_the_headers(self):
        kinds = {ctypes.c_size_t: "size_t", ctypes.c_int: "int", ctypes.c_double: "double",
                 ctypes.c_void_p: "*", ctypes.c_char_p: "*"}
        for name, structure in (("mole_layer_expert_t", layer.LayerExpert),
                                ("mole_layer_args_t", layer.LayerArgs),
                                ("mole_ddim_settings_t", sampler.Settings),
                                ("mole_expert_file_t", model.ExpertFile),
                                ("mole_model_info_t", model.Info)):
            body = re.search(r"typedef struct \{([^}]*)\} " + name + ";", HEADER).group(1)
            declared = []
            for line in filter(str.strip, body.split(";")):
                kind = re.match(r"\s*(?:const )?(\w+)", line).group(1)
                for field in line.split(","):
                    declared.append((re.search(r"(\w+)\s*$", field).group(1), "*" if "*" in field
                                     else "int" if kind in ENUMS else kind))
            ours = [(field, kinds.get(kind, "*")) for field, kind in structure._fields_]
            self.assertEqual(ours, declared, name)

    def test_error_buffer_is_the_headers(self):
        self.assertEqual(int(re.search(r"char text\[(\d+)\]", HEADER).group(1)), library.ERROR_BYTES)

    def test_versions_agree(self):
        version = re.search(r'MOLE_VERSION "(.*)"', HEADER).group(1)
        self.assertEqual(mole_ref.load("f64").version, version)
        self.assertEqual(mole_ref.__version__, version)
        self.assertIn(f'version = "{version}"', (ROOT / "scripts/mole_ref/pyproject.toml").read_text())


class Finding(unittest.TestCase):
    def test_named_file_and_folder(self):
        path = pathlib.Path(mole_ref.load("f64").library._name)
        for named in (path, path.parent):
            with mock.patch.dict(os.environ, {"MOLE_LIB": str(named)}):
                self.assertEqual(mole_ref.load("f64").precision, "f64")
            self.assertEqual(mole_ref.load("f64", named).precision, "f64")

    def test_wrong_ones_are_refused(self):
        folder = pathlib.Path(mole_ref.load("f64").library._name).parent
        with self.assertRaisesRegex(OSError, "computes in f32, expected f64"):
            mole_ref.load("f64", folder / "libmole-f32.so")
        with self.assertRaisesRegex(OSError, "not to be had"):
            mole_ref.load("f64", "/no/such/folder")
        with self.assertRaisesRegex(OSError, "has no mole_"):
            mole_ref.load("f64", "libm.so.6")
        with self.assertRaisesRegex(ValueError, "f16"):
            mole_ref.load("f16")
        with tempfile.TemporaryDirectory() as empty, mock.patch.dict(os.environ, {"MOLE_LIB": empty}):
            with self.assertRaisesRegex(OSError, "not to be had"):
                mole_ref.load("f32")


if __name__ == "__main__":
    unittest.main()
