"""The loop of every stage: steps, checkpoints, log, curves, and stopping when asked to."""

import json
import math
import os
import signal
import time
from pathlib import Path

import numpy as np
import torch
from data import BadState, write
from plots import curve
from recipe import fingerprint


class Stopper:
    """True when called after SIGTERM, SIGINT, or the end of the time or of the steps that were given."""

    def __init__(self, minutes=None, steps=None):
        self.asked, self.left = False, steps
        self.end = time.monotonic() + 60 * minutes if minutes else math.inf
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self.ask)

    def ask(self, *_):
        self.asked = True

    def __call__(self):
        return self.asked or self.left == 0 or time.monotonic() > self.end

    def count(self):
        """A step was made."""
        if self.left is not None:
            self.left -= 1


class State:
    """The state folder."""

    def __init__(self, folder, recipe, bfloat16=False):
        """bfloat16: multiply in that type while training."""
        self.folder, self.recipe, self.bfloat16 = Path(folder), recipe, bfloat16
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "recipe.json"
        if path.exists():
            found = json.loads(path.read_text()).get("name")
            if found != recipe["name"]:
                raise BadState(
                    f"{path}: this folder belongs to the recipe '{found}', not to '{recipe['name']}'. "
                    "Give another state folder."
                )
        write(path, json.dumps(recipe, indent=1) + "\n")

    def say(self, text):
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} {text}"
        print(line, flush=True)
        with open(self.folder / "log.txt", "a") as log:
            log.write(line + "\n")

    def checkpoint(self, stage):
        return self.folder / f"{stage}.pt"

    def load(self, stage):
        """The checkpoint of a stage, or None."""
        path = self.checkpoint(stage)
        if not path.exists():
            return None
        try:
            saved = torch.load(path, weights_only=True)
        except Exception as error:
            raise BadState(f"{path}: not a checkpoint ({error}). Delete it; the stage begins anew.") from None
        expected = fingerprint(self.recipe, stage)
        if saved.get("fingerprint") != expected:
            raise BadState(
                f"{path}: a checkpoint of another recipe (expected {expected}, found "
                f"{saved.get('fingerprint')}). Give another state folder, or delete this file."
            )
        return saved

    def save(self, stage, saved):
        """Whole or not at all."""
        path = self.checkpoint(stage)
        scratch = path.with_suffix(".new")
        with open(scratch, "wb") as file:
            torch.save({"fingerprint": fingerprint(self.recipe, stage), **saved}, file)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)


def rate_at(step, steps, peak, warmup, begun=0):
    """Rising, constant, and falling to a twentieth over the last quarter. begun: where the optimizer is new."""
    rising = min(1.0, (step - begun + 1) / warmup)
    tail = max(1, steps // 4)
    left = min(1.0, (steps - step) / tail)
    return peak * rising * (0.05 + 0.95 * left)


class Average:
    """The exponential moving average of parameters."""

    def __init__(self, parameters, decay):
        self.parameters, self.decay = parameters, decay
        self.shadow = [p.detach().clone() for p in parameters]

    @torch.no_grad()
    def update(self, step):
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.shadow, [p.detach() for p in self.parameters], 1 - decay)

    @torch.no_grad()
    def swap(self):
        """Exchange the average with what is being trained."""
        for shadow, p in zip(self.shadow, self.parameters):
            kept = p.detach().clone()
            p.copy_(shadow)
            shadow.copy_(kept)


class Trainer:
    """One stage. A subclass gives `loss(step)`, and `sample(path)` with the averaged weights in place."""

    name = ""
    decay = 0.999

    def __init__(self, state, parameters):
        """parameters: name -> Parameter, all that is trained."""
        self.state, self.recipe = state, state.recipe
        self.options = self.recipe["stages"][self.name]
        self.names, self.parameters = list(parameters), list(parameters.values())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-3, weight_decay=0.01, foreach=True)
        self.average = Average(self.parameters, self.options.get("ema", self.decay))
        self.step, self.begun, self.curves, self.seconds = 0, 0, [], 0.0

    # ---- what is kept --------------------------------------------------------------------------------

    def restore(self):
        saved = self.state.load(self.name)
        if not saved:
            return
        with torch.no_grad():
            for p, value in zip(self.parameters, saved["parameters"]):
                p.copy_(value)
        if saved["optimizer"]:  # a model that was taken over has none
            self.optimizer.load_state_dict(saved["optimizer"])
        self.average.shadow = saved["average"]
        self.step, self.curves, self.seconds = saved["step"], saved["curves"], saved["seconds"]
        self.begun = saved.get("begun", 0) if saved["optimizer"] else self.step

    def save(self):
        self.state.save(
            self.name,
            {
                "step": self.step,
                "begun": self.begun,
                "names": self.names,
                "parameters": [p.detach() for p in self.parameters],
                "average": self.average.shadow,
                "optimizer": self.optimizer.state_dict(),
                "curves": self.curves,
                "seconds": self.seconds,
            },
        )
        if self.curves:
            steps = [c[0] for c in self.curves]
            lines = {name: [c[1][name] for c in self.curves] for name in self.curves[0][1]}
            curve(self.state.folder / f"{self.name}-curve.png", f"stage {self.name}", steps, lines)

    # ---- steps ---------------------------------------------------------------------------------------

    def update(self):
        """One step; the figures to log."""
        rate = rate_at(self.step, self.options["steps"], self.options["rate"], self.recipe["warmup"], self.begun)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16, enabled=self.state.bfloat16):
            loss, figures = self.loss(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.step += 1
        self.average.update(self.step)
        return figures

    def show(self):
        """A picture of what has been learned so far."""
        self.average.swap()
        folder = self.state.folder / "samples"
        folder.mkdir(exist_ok=True)
        with torch.no_grad():
            self.sample(folder / f"{self.name}-{self.step:06d}.png")
        self.average.swap()

    def run(self, stopping):
        """Go on until the stage is done (True) or something asks to stop (False)."""
        steps, every = self.options["steps"], self.recipe["log_every"]
        self.restore()
        if self.step >= steps:
            return True
        self.state.say(f"{self.name}: from step {self.step} of {steps}")
        kept, since, spent, seen = time.monotonic(), time.monotonic(), time.process_time(), []
        while self.step < steps and not stopping():
            seen.append(self.update())
            stopping.count()
            if self.step % every == 0 or self.step == steps:
                now = time.monotonic()
                figures = {key: float(np.mean([s[key] for s in seen])) for key in seen[0]}
                self.seconds += now - since
                said = " ".join(f"{key} {value:.5f}" for key, value in figures.items())
                cpu = (time.process_time() - spent) / len(seen)
                self.state.say(f"{self.name} {self.step} {said} {len(seen) / (now - since):.3f} steps/s "
                               f"{cpu:.2f} cpu s/step")
                self.curves.append((self.step, figures))
                since, spent, seen = time.monotonic(), time.process_time(), []
            if time.monotonic() - kept > 60 * self.recipe["save_minutes"]:
                self.save()
                kept = time.monotonic()
            if self.step % self.recipe["sample_every"] == 0:
                self.show()
                since, spent, seen = time.monotonic(), time.process_time(), []
        self.save()
        if self.step >= steps:
            self.show()
        self.state.say(f"{self.name}: {'done' if self.step >= steps else 'stopped'} at step {self.step}")
        return self.step >= steps
