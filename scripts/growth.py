#!/usr/bin/env python3
"""How time and memory of a UNet step and a VAE decode grow with resolution, batch, rank and experts.

    scripts/growth.py --mole build/cc/mole                       measure all, draw docs/img/growth-*.svg
    scripts/growth.py --mole build/cc/mole --only batch          this series anew
    scripts/growth.py --draw                                     only draw, from the stored numbers

Each point is a program of its own (`mole bench --serve`), so that its peak memory is its own; one run to
warm up, then up to --rounds runs, fewer where one takes long. The time of a point is the least of its
runs: every disturbance makes a run longer. Results go into the section `growth` of the JSON file point by
point; points that are there already (made with the same options) are left as they are, but for those of
--only. Only the standard library is used.
"""

import sys
import time

import bench_common as common
import growth_plots

LONG = 12.0  # seconds of counted runs after which a point gets no further one
SIDES, BATCHES, RANKS, EXPERTS = (
    (256, 384, 512, 768, 1024),
    (1, 2, 4),
    (0, 16, 64, 256, 512),
    (0, 1, 2, 4),
)
NAMES = ("face", "hand", "third", "fourth")


def experts(count, rank):
    """Options for so many experts of that rank."""
    if not count or not rank:
        return []
    found = []
    for i, name in enumerate(NAMES[:count]):
        spec = f"synth:rank={rank},seed={i + 1}"
        found += [f"--{name}", spec] if i < 2 else ["--expert", f"{name}={spec}"]
    return [*found, "--gates", "synth:"]


def point(x, component="unet", side=512, batch=1, count=0, rank=256):
    """What to measure, and its place on the axis."""
    more = experts(count, rank)
    component = "unet_mole" if more else component
    size = ["--width", str(side), "--height", str(side), "--batch", str(batch)]
    return x, component, [*size, *more]


def series():
    """Series -> its points."""
    return {
        "resolution": [point(s, side=s) for s in SIDES],
        "vae": [point(s, component="vae_decoder", side=s) for s in SIDES[:-1]],
        "batch": [point(b, batch=b) for b in BATCHES],
        "rank": [point(r, count=2, rank=r) for r in RANKS],
        "experts": [point(e, count=e) for e in EXPERTS],
    }


def measure(o, x, component, options):
    """One point."""
    command = [*options, "--model", o.model, "--threads", str(o.threads)]
    with common.serve(o.mole, component, *command) as child:
        warm, runs, start = child.go(), [], time.time()
        while len(runs) < o.rounds and (not runs or time.time() - start < LONG):
            runs.append(child.go())
    return {
        "x": x,
        "component": component,
        "options": options,
        "gflop": child.gflop,
        "weights_bytes": child.weights,
        "first_s": warm["seconds"],
        "seconds": [r["seconds"] for r in runs],
        "faults": max(r["faults"] for r in runs),
        "peak_rss_bytes": runs[-1]["peak_rss_bytes"],
    }


def grow(o):
    settings = {"threads": o.threads, "model": o.model, "rounds": o.rounds}
    section = common.load(o.json).get("growth", {})
    old = section.get("series", {}) if section.get("settings") == settings else {}
    known = {}
    for name, points in old.items():
        if name not in o.only and not o.again:
            known.update({(p["component"], *p["options"]): p for p in points})
    result, start = {k: v for k, v in old.items() if k not in (o.only or series())}, time.time()
    for name, points in series().items():
        if o.only and name not in o.only:
            continue
        result[name] = []
        for x, component, options in points:
            key = (component, *options)
            if key not in known:
                known[key] = measure(o, x, component, options)
                p = known[key]
                common.say(
                    f"  {name} {x}: {min(p['seconds']):.3f} s, {p['gflop']:.0f} GFLOP, "
                    f"peak {p['peak_rss_bytes'] / 2**20:.0f} MiB"
                )
            result[name].append({**known[key], "x": x})
            ordered = {k: result[k] for k in series() if k in result}
            common.store(o.json, "growth", {"settings": settings, "series": ordered})
    common.say(f"{time.time() - start:.0f} s")


def main():
    parser = common.parser(__doc__)
    add = parser.add_argument
    add("--images", default="docs/img", help="where plots go (docs/img)")
    add("--only", action="append", default=[], choices=list(series()), help="this series, anew")
    add("--again", action="store_true", help="all of them anew")
    add("--rounds", type=int, default=3, help="runs of a point that count (3)")
    add("--draw", action="store_true", help="measure nothing")
    o = parser.parse_args()
    if o.rounds < 1:
        common.say("growth.py: --rounds must be at least 1")
        return 2
    try:
        if not o.draw:
            grow(o)
        growth_plots.draw(common.load(o.json).get("growth", {}).get("series", {}), o.images)
    except (common.Failed, OSError) as error:
        common.say(f"growth.py: {error}")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
