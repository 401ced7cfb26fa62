#!/usr/bin/env python3
"""Files that no program should trust, one at a time through `mole`: what must it say of each?

    MOLE=build/cc/mole tests/hostile/hostile.py [-v] [--only TEXT] [--keep FOLDER] [--jobs N]

cases.json describes them: an id, which reader is meant, what is wrong, how the files are made (see make_bytes), the
command, the exit code and words of its message. Any program that reads these formats may use the list; only "run" and
"words" are this program's.

Of a refusal (exit code 2 or 3) stderr is one line that starts with "mole" and holds the words, without control
characters. No command takes 10 seconds or 1 GB, or leaves a file behind. Python's standard library only.
Last line: N passed, N failed, N skipped. Status 0: nothing failed."""

import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import unicodedata
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SECONDS, PATIENCE, KILOBYTES = 10, 60, 1 << 20  # of the processor, of the clock
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TURNING = {0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}


def make_safetensors(spec):
    """{"header": JSON, a text or a recipe, "length": what the first eight bytes say, "data": bytes that follow}"""
    header = spec["header"]
    made = isinstance(header, str) or set(header) & MAKERS.keys()
    text = make_bytes(header) if made else json.dumps(header).encode()
    length = spec.get("length", len(text))
    return struct.pack("<Q", length) + text + make_bytes(spec.get("data", {"text": ""}))


def make_npy(spec):
    """{"descr", "shape", "fortran": texts of the dictionary, or "header": a recipe of the whole; "version", "data"}"""
    text = spec.get("header", "{'descr': %s, 'fortran_order': %s, 'shape': %s, }" % (
        spec.get("descr", "'<f4'"), spec.get("fortran", "False"), spec.get("shape", "(1, 4, 1, 1)")))
    text = make_bytes(text)
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    major = spec.get("version", 1)
    size = spec.get("length", len(text))
    start = b"\x93NUMPY" + bytes([major, 0]) + struct.pack("<H" if major == 1 else "<I", size)
    return start + text + make_bytes(spec.get("data", {"zeros": 16}))


def make_zip(entries):
    """[{"name", "body", "stored": true}]"""
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w") as archive:
            for entry in entries:
                kind = zipfile.ZIP_STORED if entry.get("stored") else zipfile.ZIP_DEFLATED
                archive.writestr(zipfile.ZipInfo(entry["name"]), make_bytes(entry["body"]), kind)
        file.seek(0)
        return file.read()


def make_edited(spec):
    """{"from": FILE, "cut": length, "put": [[offset, hex], ...], "replace": [[text, text], ...], "add": bytes}"""
    data = bytearray((ROOT / spec["from"]).read_bytes())
    for offset, digits in spec.get("put", []):
        new = bytes.fromhex(digits)
        data[offset:offset + len(new)] = new
    for old, new in spec.get("replace", []):
        assert old.encode() in data, f"{spec['from']} has no {old}"
        data = data.replace(old.encode(), new.encode(), 1)
    data = data[:spec.get("cut", len(data))]
    return bytes(data) + make_bytes(spec.get("add", {"text": ""}))


def make_json_edit(spec):
    """{"from": FILE, "set": {"a.b": value}, "drop": ["a.b"]}"""
    value = json.loads((ROOT / spec["from"]).read_text(encoding="utf-8"))
    for path, new in list(spec.get("set", {}).items()) + [(path, None) for path in spec.get("drop", [])]:
        *inside, last = path.split(".")
        node = value
        for key in inside:
            node = node[int(key) if isinstance(node, list) else key]
        if path in spec.get("drop", []):
            del node[last]
        else:
            node[int(last) if isinstance(node, list) else last] = new
    return json.dumps(value).encode()


def make_numbered(spec):
    """{"text": a text with %d, "count": n, "between": ","}"""
    return spec.get("between", "").join(spec["text"].replace("%d", str(i)) for i in range(spec["count"])).encode()


MAKERS = {
    "text": lambda text: text.encode("utf-8", "surrogatepass"),
    "hex": bytes.fromhex,
    "zeros": bytes,
    "floats": lambda numbers: struct.pack(f"<{len(numbers)}f", *map(float, numbers)),
    "repeat": lambda spec: make_bytes(spec[0]) * spec[1],
    "parts": lambda parts: b"".join(map(make_bytes, parts)),
    "numbered": make_numbered,
    "safetensors": make_safetensors,
    "npy": make_npy,
    "zip": make_zip,
    "edit": make_edited,
    "json_edit": make_json_edit,
    "json": lambda value: json.dumps(value).encode(),
}


def make_bytes(recipe):
    """The bytes of a recipe: {MAKER: what it takes}; a text stands for itself."""
    if isinstance(recipe, str):
        return recipe.encode("utf-8", "surrogatepass")
    (maker, spec), = recipe.items()
    return MAKERS[maker](spec)


def copy_tree(source, target):
    """Folders anew, files as links."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in sorted(source.iterdir()):
        if entry.is_dir():
            copy_tree(entry, target / entry.name)
        else:
            (target / entry.name).symlink_to(entry)


def make_file(folder, name, recipe):
    """One entry of "files": bytes, or {"tree": FOLDER}, {"pipe": true}, {"folder": true}, {"link": TARGET},
    {"gone": true} for what a tree brought."""
    path = folder / name.replace("\\e", "\x1b").replace("\\n", "\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or path.is_file():
        path.unlink()
    if "tree" in recipe:
        copy_tree(ROOT / recipe["tree"], path)
    elif "pipe" in recipe:
        os.mkfifo(path)
    elif "folder" in recipe:
        path.mkdir()
    elif "link" in recipe:
        path.symlink_to(recipe["link"])
    elif "gone" not in recipe:
        path.write_bytes(make_bytes(recipe))


def listing(folder):
    """Everything below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def run(words, folder):
    """Exit code (negative: a signal), stdout, stderr, kilobytes; a run of PATIENCE is killed."""
    with open(folder / "out", "w+b") as out, open(folder / "err", "w+b") as err:
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=ROOT)
        timer = threading.Timer(PATIENCE, child.kill)
        timer.start()
        _, status, usage = os.wait4(child.pid, 0)
        timer.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        return child.returncode, out.read(), err.read(), usage


def hostile_character(text):
    """The first character that may not reach a terminal, or None."""
    for char in text:
        if (unicodedata.category(char) == "Cc" and char not in "\n\t") or ord(char) in TURNING:
            return repr(char)
    return None


def judge(case, ran, left, limits):
    """What is wrong with a run, or None."""
    code, out, err, usage = ran
    seconds = usage.ru_utime + usage.ru_stime
    text = err.decode("utf-8", "replace")
    if code == -9:
        return f"still running after {PATIENCE} s"
    if limits and seconds > SECONDS:
        return f"took {seconds:.1f} s"
    if code != case["exit"]:
        return f"exit code {code}, should be {case['exit']}: {text[:300]!r}"
    if limits and usage.ru_maxrss > KILOBYTES:
        return f"took {usage.ru_maxrss >> 10} MiB"
    if code >= 2 and (text.count("\n") != 1 or not text.startswith("mole")):
        return f"not one line that starts with mole: {text[:300]!r}"
    both = text + (out.decode("utf-8", "replace") if code < 2 else "")
    for word in case.get("words", []):
        if word not in both:
            return f"does not say {word!r}: {text[:300]!r}"
    for word in case.get("never", []):
        if word in text or word.encode() in out:
            return f"says {word!r}"
    bad = hostile_character(text) or hostile_character(out.decode("utf-8", "replace"))
    if bad:
        return f"prints {bad}"
    return f"left {left}" if left else None


def run_case(case, mole, options):
    """Make, run, judge: None, or what is wrong; and the seconds of the processor."""
    folder = Path(options.keep or tempfile.mkdtemp(prefix="mole-hostile."))
    files, logs = folder / case["id"].replace("/", "-"), folder / (case["id"].replace("/", "-") + ".logs")
    files.mkdir(parents=True)
    logs.mkdir()
    try:
        for name, recipe in case["files"].items():
            make_file(files, name, recipe)
        before = listing(files)
        words = [word.replace("@", f"{files}/", 1).replace("\\e", "\x1b").replace("\\n", "\n") for word in case["run"]]
        ran = run([mole] + words, logs)
        left = sorted(set(listing(files)) - set(before)) if case["exit"] >= 2 else []
        return judge(case, ran, left, not options.no_limits), ran[3].ru_utime + ran[3].ru_stime
    finally:
        if not options.keep:
            shutil.rmtree(folder)


def load(path):
    """The cases; a case takes "run", "exit" and "files" of its reader's, where it has none of its own."""
    described = json.loads(path.read_text(encoding="utf-8"))
    cases = []
    for case in described["cases"]:
        reader = described["readers"][case["reader"]]
        whole = {**reader, **case}
        whole["files"] = {**reader.get("files", {}), **case.get("files", {})}
        if "file" in case:
            whole["files"][reader["name"]] = case["file"]
        cases.append(whole)
    ids = [case["id"] for case in cases]
    assert len(set(ids)) == len(ids), "two cases of one id"
    return cases


def main():
    """Status 0: every verdict is the right one."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("-v", "--verbose", action="store_true", help="a line for every case")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose id has this text")
    parser.add_argument("--keep", metavar="FOLDER", help="leave the files there")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="so many at a time (1)")
    parser.add_argument("--no-limits", action="store_true", help="time and memory do not count (sanitizers)")
    options = parser.parse_args()
    mole = os.path.abspath(os.environ.get("MOLE", ROOT / "build/cc/mole"))
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", LC_ALL="C.UTF-8")
    failed, slowest = 0, (0.0, "")
    cases = [case for case in load(HERE / "cases.json") if options.only in case["id"]]
    with ThreadPoolExecutor(options.jobs) as pool:
        verdicts = pool.map(lambda case: run_case(case, mole, options), cases)
        verdicts = list(zip(cases, verdicts))
    for case, (wrong, seconds) in verdicts:
        slowest = max(slowest, (seconds, case["id"]))
        failed += wrong is not None
        if wrong or options.verbose:
            print(f"{'FAILED' if wrong else 'ok':7} {case['id']} ({case['wrong']}): {wrong or f'{seconds:.2f} s'}")
    print(f"slowest: {slowest[1]}, {slowest[0]:.2f} s")
    print(f"{len(cases) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
