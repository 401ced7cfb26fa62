#!/usr/bin/env python3
"""Independent implementations, held against the golden cases: make ports.

    scripts/ports/ports.py [--mole PROGRAM] [--light] [--figures FILE] [--junit FILE] [NAME...]
    scripts/ports/ports.py --page docs/real-ports.json        the table and the notes of docs/real-ports.md

Each port has a virtual environment of its own below out/ports/venv, made when it is first asked for; one that cannot
be installed is skipped, and the reason said. A port is a few commands that leave traces, and for each trace what
`mole compare` must say. NAME: some ports. --light: those that need no full-size model. --figures: a JSON file to update.
Status 1 when a verdict is not the expected one.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import quoteattr

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[2]
HERE, OUT = ROOT / "scripts" / "ports", ROOT / "out" / "ports"
sys.path.insert(0, str(HERE))

from table import PORTS  # noqa: E402


@dataclass
class Found:
    """What became of one trace."""

    port: object
    check: object
    verdict: str = ""
    text: str = ""
    well: bool = False
    skipped: str = ""
    versions: dict = field(default_factory=dict)


def environment(port):
    """The interpreter of a port's environment; RuntimeError when it cannot be made."""
    folder = OUT / "venv" / port.environment
    python, ready = folder / "bin" / "python", folder / "ready"
    wanted = "\n".join(" ".join(line) for line in port.install())
    if ready.exists() and ready.read_text() == wanted:
        return python
    folder.parent.mkdir(parents=True, exist_ok=True)
    commands = [[sys.executable, "-m", "venv", "--clear", str(folder)]]
    commands += [[str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *line]
                 for line in port.install()]
    for command in commands:
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode:
            errors = [line for line in made.stderr.splitlines() if line.startswith("ERROR")] or ["no reason given"]
            raise RuntimeError(f"its environment cannot be made: {errors[0]}")
    ready.write_text(wanted)
    return python


def versions(port, python):
    """package -> version, of the packages that the port is about."""
    code = "import importlib.metadata as m, sys; print(*[m.version(p) for p in sys.argv[1:]])"
    said = subprocess.run([str(python), "-c", code, *port.packages], capture_output=True, text=True, check=True)
    return dict(zip(port.packages, said.stdout.split()))


def make(port, python, seen):
    """Run the port's commands, but for those in `seen`; RuntimeError with the last line of what went wrong."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "scripts" / "mole_trace"), "PYTHONDONTWRITEBYTECODE": "1",
           "HF_HUB_OFFLINE": "1"}
    for command in port.commands:
        if command in seen:
            continue
        words = [word.format(out=OUT, root=ROOT) for word in command]
        made = subprocess.run([str(python), str(HERE / words[0]), *words[1:]], capture_output=True, text=True, env=env,
                              cwd=ROOT)
        if made.returncode:
            lines = made.stderr.strip().splitlines() or ["no message"]
            raise RuntimeError(f"{words[0]}: {lines[-1]}")
        seen.add(command)


def judge(mole, port, check):
    """Hold one trace against its case."""
    trace = OUT / check.trace
    command = [str(mole), "compare", *check.options, str(ROOT / "golden" / check.case), str(trace)]
    made = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    text = made.stdout + made.stderr
    verdict = re.search(r"^verdict +(.*)$", text, re.M)
    found = Found(port, check, verdict.group(1) if verdict else text.strip().splitlines()[-1], text)
    found.well = all(re.search(pattern, text, re.M) for pattern in check.expected)
    return found


def run(mole, port, seen):
    """Everything of one port. seen: commands that earlier ports have run."""
    try:
        python = environment(port)
        found_versions = versions(port, python)
        make(port, python, seen)
    except (RuntimeError, subprocess.CalledProcessError, OSError) as error:
        return [Found(port, check, skipped=str(error)) for check in port.checks]
    made = [judge(mole, port, check) for check in port.checks]
    for found in made:
        found.versions = found_versions
    return made


def say(found):
    """One line."""
    name = f"{found.port.name}: {found.check.what}"
    if found.skipped:
        return f"SKIP {name}: {found.skipped}"
    return f"{'ok  ' if found.well else 'FAIL'} {name}: {found.verdict}"


# ---- the page and the report ------------------------------------------------------------------------

def lines_of(port):
    """Lines of glue that are no blank, comment or documentation."""
    count = 0
    for name in sorted({command[0] for command in port.commands}):
        code = re.sub(r'""".*?"""', "", (HERE / name).read_text(), flags=re.S)
        count += sum(bool(line.strip()) and not line.strip().startswith("#") for line in code.splitlines())
    return count


def figures(found):
    """What is kept of a result."""
    taps, ratio = re.search(r"(\d+) of (\d+) taps", found.verdict), re.search(r"worst ([^ ]+)x of", found.text)
    return {
        "versions": found.versions, "verdict": found.verdict.partition(":")[0],
        "taps": f"{taps[1]} of {taps[2]}" if taps else "-", "worst": f"{ratio[1]}x" if ratio else "-",
    }


def update(path, results):
    """Put the results into the file of figures; those of ports that were not run stay."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    for found in results:
        if found.well:
            kept.setdefault(found.port.name, {})[found.check.what] = figures(found)
    path.write_text(json.dumps(kept, indent=1) + "\n")


def page(path):
    """The table and the notes of docs/real-ports.md, from the file of figures."""
    kept = json.loads(path.read_text())
    rows = ["| port | what | case | verdict | taps | worst | glue |", "|---|---|---|---|---|---|---|"]
    notes = ["", "## What differs, and why", ""]
    for port in PORTS:
        notes.append(f"* **{port.name}**: {port.about}")
        for check in port.checks:
            seen = kept.get(port.name, {}).get(check.what, {"versions": {}, "verdict": "not run", "taps": "", "worst": ""})
            names = ", ".join(f"{k} {v}" for k, v in seen["versions"].items())
            rows.append(f"| {port.name} ({names}) | {check.what} | `{check.case}` | {seen['verdict']} | {seen['taps']} | "
                        f"{seen['worst']} | {lines_of(port)} |")
            notes += [f"  - {check.what}: {check.why}."] if check.why else []
    return "\n".join(rows + notes)


def junit(results):
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<testsuite name="ports" tests="{len(results)}">']
    for found in results:
        lines.append(f" <testcase classname={quoteattr(found.port.name)} name={quoteattr(found.check.what)}>")
        if found.skipped:
            lines.append(f"  <skipped message={quoteattr(found.skipped)}/>")
        elif not found.well:
            lines.append(f"  <failure message={quoteattr(found.verdict)}/>")
        lines.append(" </testcase>")
    return "\n".join(lines + ["</testsuite>"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mole", default=ROOT / "build" / "cc" / "mole", type=Path)
    parser.add_argument("--light", action="store_true")
    parser.add_argument("--figures", type=Path)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--junit", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    if options.page:
        print(page(options.page))
        return 0
    unknown = set(options.names) - {port.name for port in PORTS}
    if unknown:
        parser.error(f"no port {sorted(unknown)[0]!r}; there are " + ", ".join(port.name for port in PORTS))
    results, seen = [], set()
    for port in PORTS:
        if options.names and port.name not in options.names or options.light and port.heavy:
            continue
        start = time.monotonic()
        for found in run(options.mole, port, seen):
            results.append(found)
            print(say(found), flush=True)
        print(f"     {port.name}: {time.monotonic() - start:.0f} s", flush=True)
    if options.figures:
        update(options.figures, results)
    if options.junit:
        options.junit.write_text(junit(results))
    skipped = sum(bool(found.skipped) for found in results)
    failed = sum(not found.well and not found.skipped for found in results)
    print(f"{len(results) - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
