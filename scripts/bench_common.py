"""What the measuring scripts share: programs that are told "go", rounds, statistics, the stored JSON.

docs/performance.json has one section per script; each replaces its own section and leaves the others:

    bench      `mole bench --json`             (scripts/bench.sh)
    torch      the same shapes in PyTorch      (scripts/bench_torch.py)
    growth     how cost grows                  (scripts/growth.py)
    runs       whole runs of `mole generate`   (scripts/bench_runs.py)
    profile    `mole generate --profile-json`  (scripts/bench.sh)
    machine    what it was measured on         (each of them)

Only the standard library is used. As a program: `bench_common.py FILE bench PART` puts the JSON file
PART into FILE as its section `bench`, likewise `profile`.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

FORMAT = "mole performance 1"
STEADY = 0.85  # a round counts if the yardstick in it reached this share of the best round's
OTHERS = 0.05  # and if others had at most this share of the processors
EXPERTS = {"face": "synth:rank=256,alpha=64", "hand": "synth:rank=256,alpha=128"}
FREE = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # OpenBLAS chooses its kernel itself


class Failed(Exception):
    """A program that is measured said no; the text is what it said."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def parser(doc):
    """The options that the scripts which run `mole` have in common."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--mole", default="build/cc/mole", help="the program (build/cc/mole)")
    add("--model", default="synth:sd15", help="its model (synth:sd15)")
    add("--json", default="docs/performance.json", help="where results go (docs/performance.json)")
    add("--threads", type=int, default=min(2, os.cpu_count() or 1), help="(2)")
    return parser


def environment(**more):
    """The environment of a measured program."""
    return {**{k: v for k, v in os.environ.items() if k not in FREE}, **more}


TICKS = os.sysconf("SC_CLK_TCK")


def busy_ticks():
    """Of all processors together, what was not idle; a host that takes them away (steal) counts as busy."""
    words = first_line("/proc/stat").splitlines()[:1]
    numbers = [int(word) for word in words[0].split()[1:9]] if words else [0] * 8
    return sum(numbers) - numbers[3] - numbers[4]  # less idle and iowait


def own_ticks(pid):
    """What a process has used, all of its threads."""
    fields = first_line(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]) if len(fields) > 12 else 0


class Child:
    """A program that loads something, prints "ready ...", and answers each line with a line."""

    def __init__(self, name, command, **more):
        self.name = name
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(**more),
        )
        word, *self.ready = self.line().split(maxsplit=1)
        self.ready = self.ready[0] if self.ready else ""
        if word != "ready":
            self.close()
            raise Failed(f"{name}: expected 'ready', found '{word}'")

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            error = self.process.stderr.read().strip().splitlines()
            self.process.wait()
            what = error[-1] if error else f"ended with status {self.process.returncode}"
            raise Failed(f"{self.name}: {what}")
        return line

    def ask(self, question):
        """The numbers that it answers."""
        try:
            self.process.stdin.write(question + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # line() says why
        return [float(word) for word in self.line().split()]

    def go(self):
        """One run: seconds, page faults, peak resident bytes so far, and the share of the processors that others had."""
        before = busy_ticks() - own_ticks(self.process.pid)
        seconds, faults, peak = self.ask("go")
        others = (busy_ticks() - own_ticks(self.process.pid) - before) / TICKS
        share = max(0.0, others / (seconds * (os.cpu_count() or 1))) if seconds > 0.2 else 0.0
        return {"seconds": seconds, "faults": int(faults), "peak_rss_bytes": int(peak), "others": round(share, 4)}

    def close(self):
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                stream.close()
            except BrokenPipeError:
                pass
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def serve(mole, name, *options, **more):
    """`mole bench --serve NAME`; work (GFLOP) and bytes of weights become attributes."""
    child = Child(name, [mole, "bench", "--serve", name, *options], **more)
    gflop, weights = child.ready.split()
    child.gflop, child.weights = float(gflop), int(weights)
    return child


def counted(rounds, idle=0):
    """Which rounds count: those in which the machine was about as fast as in its best one, or as it was before anything
    was measured (`idle`, its yardstick then), and in which others had little of it."""
    best = max([idle, *(r["yardstick_gflops"] for r in rounds)])
    return [i for i, r in enumerate(rounds) if r["yardstick_gflops"] >= STEADY * best and others(r) <= OTHERS]


def others(one_round):
    """The largest share of the processors that other programs had while one of the round's ran."""
    return max((row.get("others", 0) for row in one_round["programs"].values()), default=0)


def summary(values):
    """Median, least, greatest."""
    if not values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def free_bytes():
    """Memory that a new program can have."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


# ---- the machine ------------------------------------------------------------------------------------


def first_line(path, default=""):
    try:
        return Path(path).read_text().strip()
    except OSError:
        return default


def caches():
    """For instance ["L1d 32 KiB", "L2 1 MiB", "L3 32 MiB"], per core as the kernel tells it."""
    found = []
    for place in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind = first_line(place / "type")
        if kind == "Instruction":
            continue
        size = int(first_line(place / "size", "0K").rstrip("K") or 0)
        text = f"{size // 1024} MiB" if size >= 1024 and size % 1024 == 0 else f"{size} KiB"
        found.append(f"L{first_line(place / 'level')}{'d' if kind == 'Data' else ''} {text}")
    return found


def machine():
    """What can be known without asking mole or torch."""
    cpu = {}
    for line in first_line("/proc/cpuinfo").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            cpu.setdefault(key.strip(), value.strip())
    memory = first_line("/proc/meminfo").split()
    return {
        "cpu": cpu.get("model name", platform.processor() or platform.machine()),
        "family": f"family {cpu['cpu family']} model {cpu['model']}" if "model" in cpu else "",
        "vectors": [f for f in ("avx2", "avx512f") if f in cpu.get("flags", "").split()],
        "cores": len(os.sched_getaffinity(0)),
        "caches": caches(),
        "memory_bytes": int(memory[1]) * 1024 if len(memory) > 1 else 0,
        "system": f"{platform.system()} {platform.machine()}, {' '.join(platform.libc_ver())}",
    }


# ---- the stored JSON --------------------------------------------------------------------------------


def load(path):
    """The stored JSON, or an empty one."""
    try:
        stored = json.loads(Path(path).read_text())
    except FileNotFoundError:
        return {"format": FORMAT}
    except ValueError as error:
        raise Failed(f"{path}: no JSON: {error}") from None
    if not isinstance(stored, dict) or stored.get("format") != FORMAT:
        raise Failed(f"{path}: expected format '{FORMAT}'; move the file away to start anew")
    return stored


def save(path, stored):
    """Write it to a temporary name and rename."""
    new = Path(f"{path}.tmp.{os.getpid()}")
    new.write_text(json.dumps(stored, indent=1) + "\n")
    new.replace(path)


def store(path, section, value):
    """Replace one section."""
    stored = load(path)
    stored["machine"] = {**stored.get("machine", {}), **machine()}
    stored[section] = value
    save(path, stored)


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def answer(run, finite, weights):
    """Be such a program: the protocol of `mole bench --serve`, as bench_torch.py says it."""
    print("ready", 0, weights, flush=True)
    for line in sys.stdin:
        if line.strip() != "go":
            raise Failed(f"expected 'go', found '{line.strip()}'")
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        start = time.perf_counter()
        result = run()
        seconds = time.perf_counter() - start
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
        if not finite(result):
            raise Failed("the result is not finite")
        del result
        print(f"{seconds:.6f} {faults} {peak_bytes()}", flush=True)


def main():
    if len(sys.argv) != 4 or sys.argv[2] not in ("bench", "profile"):
        say("usage: bench_common.py FILE bench|profile PART")
        return 2
    wanted = f"mole {sys.argv[2]} 1"
    try:
        part = json.loads(Path(sys.argv[3]).read_text())
        if not isinstance(part, dict) or part.get("format") != wanted:
            raise Failed(f"{sys.argv[3]}: expected format '{wanted}'")
        store(sys.argv[1], sys.argv[2], part)
    except (Failed, OSError, ValueError) as error:
        say(f"bench_common.py: {error}")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
