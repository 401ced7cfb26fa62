#!/usr/bin/env python3
"""The drawn people and the training: what labels promise, interrupted runs, and state that does not fit.

tests/people/test_people.py [TEXT...]      some: tests with TEXT in their name

MOLE=FILE, the program, draws with the model of the smoke run as well; without it that test says SKIP.
"""

import contextlib
import io
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import types
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts" / "people"), str(ROOT / "scripts")]
sys.dont_write_bytecode = True

try:
    import numpy as np

    import attributes
    import captions
    import draw

    no_drawing = None
except ImportError as error:
    no_drawing = f"no {error.name}"
try:
    import torch

    import data
    import loop
    import networks
    import recipe
    import evaluate
    import reader
    import stages
    import train
    import words
    from safetensors.torch import load_file, save_file

    no_training = no_drawing
except ImportError as error:
    no_training = no_drawing or f"no {error.name}"


def runs(line):
    """How many stretches of at least three True a ring of values has; an edge may flicker."""
    line = line & np.roll(line, 1) & np.roll(line, 2)
    return int(np.sum(line & ~np.roll(line, 1)))


def fingers(mask, made):
    """Fingers of a hand close-up, counted in its mask: crossings of an arc above the palm, and the thumb's."""
    hand, (dx, dy), scale = made["hands"][0], made["shift"], 39 * made["grow"]
    left = hand["side"] == "left"
    wave = 14 if hand["gesture"] == "wave" else 0
    turn = hand["angle"] + (wave if left else -wave)

    def crossings(radius, start, end):
        degrees = np.arange(start, end, 0.5)
        along = np.radians((degrees if left else -degrees) + turn - 90)
        xs = (62 if left else 66) + dx + radius * scale * np.cos(along)
        ys = 76 + dy + radius * scale * np.sin(along)
        return runs(np.concatenate([[False], mask[ys.round().astype(int), xs.round().astype(int)] > 127]))

    return crossings(1.16, -60, 48) + crossings(0.93, 54, 82)


@unittest.skipIf(no_drawing, no_drawing)
class Drawing(unittest.TestCase):
    def test_picture_depends_on_its_index_alone(self):
        first = {kind: draw.picture(5, kind, 3) for kind in attributes.KINDS}
        for kind in reversed(attributes.KINDS):
            draw.picture(5, kind, 4)
            again = draw.picture(5, kind, 3)
            self.assertEqual(again["attributes"], first[kind]["attributes"])
            self.assertEqual(again["caption"], first[kind]["caption"])
            for name in ("image", "face", "hand"):
                np.testing.assert_array_equal(again[name], first[kind][name], kind)
        seeds = [draw.picture(seed, "half", 3)["image"] for seed in (5, 6)]
        self.assertTrue((seeds[0] != seeds[1]).any())

    def test_masks_lie_where_the_kind_says(self):
        has = {"portrait": (1, 0), "half": (1, 1), "two": (1, 0), "face": (1, 0), "hand": (0, 1)}
        for kind, (face, hand) in has.items():
            for index in range(20):
                made = draw.picture(1, kind, index)
                self.assertEqual(bool(made["face"].any()), bool(face), (kind, index))
                self.assertEqual(bool(made["hand"].any()), bool(hand), (kind, index))
                both = np.minimum(made["face"], made["hand"])
                self.assertLess(both.mean(), 2.0, "a pixel is a face or a hand")

    def test_fingers_counted_in_the_mask_are_those_of_the_label(self):
        wrong = []
        for index in range(400):
            made = draw.picture(2, "hand", index)
            label = made["attributes"]["hands"][0]["gesture"]
            found = fingers(made["hand"], made["attributes"])
            if found != attributes.FINGERS[label]:
                wrong.append((index, label, found))
        self.assertEqual(wrong, [])

    def test_skin_of_the_label_is_the_skin_of_the_picture(self):
        for index in range(40):
            made = draw.picture(3, "hand", index)
            skin = np.asarray(attributes.SKIN[made["attributes"]["people"][0]["skin"]]) * 255
            pixels = made["image"][made["hand"] > 250].astype(float)
            near = np.abs(pixels - skin).max(1) < 3
            self.assertGreater(near.mean(), 0.3, index)

    def test_lots_are_balanced(self):
        people = [attributes.sample(4, "portrait", i)["people"][0] for i in range(3000)]
        for who in ("woman", "man"):
            skins = [p["skin"] for p in people if p["who"] == who]
            for skin in attributes.SKIN:
                self.assertAlmostEqual(skins.count(skin) / len(skins), 1 / 5, delta=0.04)

    def test_captions_say_what_is_shown(self):
        said = {name: 0 for name in attributes.GESTURES}
        for index in range(400):
            made = attributes.sample(6, "hand", index)
            gesture = made["hands"][0]["gesture"]
            text = captions.caption(made)
            for name, phrases in captions.GESTURES.items():
                has = any(phrase in text for phrase in phrases)
                if name != gesture:
                    self.assertFalse(has, text)
                said[name] += has
        self.assertGreater(min(said[name] for name in captions.GESTURES), 10)

    def test_ways_of_saying_it_differ(self):
        made = attributes.sample(6, "half", 1)
        self.assertGreater(len({captions.caption(made, way) for way in range(8)}), 3)
        self.assertEqual(captions.caption(made, 2), captions.caption(made, 2))


@unittest.skipIf(no_training, no_training)
class Reading(unittest.TestCase):
    def test_what_a_caption_says(self):
        made = attributes.sample(6, "half", 1)
        p = made["people"][0]
        p.update(who="man", skin="tan", hair="short", hair_colour="red", hat="cap", hat_colour="blue", beard="none",
                 glasses="sunglasses", expression="calm", clothes="shirt", clothes_colour="green")
        made.update(place="none", backdrop="pink", hands=[{"side": "left", "gesture": "wave"},
                                                          {"side": "right", "gesture": "two"}])
        text = "a serious man with short red hair and sunglasses, waving on the left and showing 2 fingers"
        self.assertEqual(reader.stated(made, text), {"who": "man", "hair": "short", "hair colour": "red",
                                                     "glasses": "sunglasses", "expression": "calm"})
        gestures = reader.gestures_stated(made, text)
        self.assertEqual((gestures, reader.fingers(gestures)), (["two", "wave"], [2, 5]))
        self.assertEqual(reader.stated(made, "a person with a blue cap, pink background"),
                         {"hat": "cap", "hat colour": "blue", "backdrop": "pink"})
        self.assertEqual(reader.gestures_stated(made, "a man in a park"), [])

    def test_every_caption_says_something_and_nothing_that_is_not_shown(self):
        for kind in ("portrait", "half", "face", "hand"):
            for index in range(200):
                made = attributes.sample(8, kind, index)
                text = captions.caption(made)
                found, shown = reader.stated(made, text), reader.attributes_of(made)
                gestures = reader.gestures_stated(made, text)
                self.assertTrue(found or gestures, text)
                for name in set(found) & set(shown):
                    self.assertEqual(found[name], shown[name], text)
                for words in re.findall(r"with both hands|on each hand", text):
                    self.assertEqual(len(gestures), 2, text + words)

    def test_wrong_readings_count_as_wrong(self):
        class Always(torch.nn.Module):
            def forward(self, x):
                return [torch.eye(len(values))[0].expand(len(x), -1) for values in reader.HEADS.values()]

        images = [np.zeros((128, 128, 3), np.uint8)] * 2
        first = {name: values[0] for name, values in reader.HEADS.items() if name not in ("left", "right")}
        found = reader.accuracy(Always(), images, [{**first, "gestures": ["one"]}, {"skin": "dark"}])
        self.assertEqual(found["skin"], (1, 2))
        self.assertEqual((found["hat"], found["gestures"], found["fingers"]), ((1, 1), (0, 1), (0, 1)))


def quiet(arguments):
    """train.main, and what it said on the error stream."""
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        status = train.main([str(a) for a in arguments])
    return status, err.getvalue()


def same(a, b):
    """Two checkpoints, to the last bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a if k != "seconds")
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@unittest.skipIf(no_training, no_training)
class Training(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp())
        cls.state = cls.folder / "whole"
        cls.status, cls.said = quiet(["--state", cls.state, "--smoke"])

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def load(self, folder, name):
        return torch.load(Path(folder) / f"{name}.pt", weights_only=True)

    def test_all_stages_run(self):
        self.assertEqual(self.status, 0, self.said)
        for name in recipe.ORDER:
            saved = self.load(self.state, name)
            self.assertEqual(saved["step"], 6)
            self.assertTrue(all(torch.isfinite(p).all() for p in saved["average"]))
            self.assertTrue((self.state / f"{name}-curve.png").exists())
            self.assertTrue((self.state / "samples" / f"{name}-000006.png").exists())

    def test_frozen_parts_stay_frozen(self):
        made = recipe.smoke()
        state = loop.State(self.state, made)
        common = train.common_of(state)
        common.scale = train.scale_of(state, common)
        gates = stages.trainer(state, common, "gates")
        before = {k: v.clone() for k, v in gates.unet.state_dict().items()}
        gates.update()
        changed = {k for k, v in gates.unet.state_dict().items() if not torch.equal(v, before[k])}
        self.assertTrue(changed)
        self.assertTrue(all(".gate_w." in k or ".gate_b." in k for k in changed), changed)

    def test_ablations_run_from_the_model(self):
        folder = self.folder / "ablations"
        shutil.copytree(self.state, folder)
        self.assertEqual(quiet(["--state", folder, "--smoke", "--ablations"]), (0, ""))
        made = recipe.smoke()
        state = loop.State(folder, made)
        unet = networks.make_unet(made)
        for only, part in (("local", "_scale."), ("global", ".Phi_1.")):
            gates = stages.gate_tensors(state, unet, f"gates-{only}")
            for key, value in gates.items():
                held = 30.0 if key.endswith(".bias") else 0.0
                self.assertEqual(bool((value == held).all()), part in key, key)
        self.evaluated(folder)
        down = stages.expert_files(state, "gates-64")["face"]
        self.assertEqual({v.shape[0] for k, v in down.items() if k.endswith("lora_down.weight")}, {64})

    def evaluated(self, folder):
        """Every variant gets its figures; networks that learned nothing, gates at one half or held open."""
        out = folder / "evaluation.json"
        with contextlib.redirect_stdout(io.StringIO()) as said:
            status = evaluate.main(["--state", str(folder), "--smoke", "--prompts", "6", "--two", "1", "--seeds", "1",
                                    "--held", "12", "--reader-steps", "2", "--json", str(out)])
        self.assertEqual(status, 0)
        found = json.loads(out.read_text())["variants"]
        self.assertEqual(sorted(found), sorted(evaluate.VARIANTS))
        for name, gate in (("local", "global"), ("global", "local")):
            held = [v for what, v in found[name]["gates"].items() if f" {gate}, " in what]
            self.assertTrue(held and all(abs(x - 1) < 1e-6 for v in held for x in v), name)
        free = [x for v in found["mole"]["gates"].values() for x in v]
        self.assertTrue(all(0.4 < x < 0.6 for x in free))
        errors = {name: tuple(f["error"].values()) for name, f in found.items()}
        self.assertEqual(len(set(errors.values())), len(errors), "each variant is a model of its own")
        self.assertIn("| mole |", said.getvalue())

    def test_interrupted_training_reaches_the_same_weights(self):
        for name in recipe.ORDER:
            folder = self.folder / f"again-{name}"
            shutil.copytree(self.state, folder)
            (folder / f"{name}.pt").unlink()
            arguments = ["--state", folder, "--smoke", "--stage", name]
            self.assertEqual(quiet([*arguments, "--steps", 2])[0], 75)
            self.assertEqual(self.load(folder, name)["step"], 2)
            self.assertEqual(quiet([*arguments, "--steps", 1])[0], 75)
            self.assertEqual(quiet(arguments)[0], 0)
            whole, parts = self.load(self.state, name), self.load(folder, name)
            whole.pop("curves"), parts.pop("curves")  # means over other stretches
            self.assertTrue(same(whole, parts), name)

    def test_sigterm_keeps_what_was_reached(self):
        folder = self.folder / "term"
        made = stages.VaeTrainer(loop.State(folder, recipe.smoke()))
        update = made.update

        def struck():
            figures = update()
            if made.step == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            return figures

        made.update = struck
        before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertFalse(made.run(loop.Stopper()))
        signal.signal(signal.SIGTERM, before[0]), signal.signal(signal.SIGINT, before[1])
        self.assertEqual(self.load(folder, "vae")["step"], 3)

    def test_a_model_can_be_begun_with(self):
        folder, model = self.folder / "adopted", self.state / "model"
        arguments = ["--state", folder, "--smoke", "--from", model]
        self.assertEqual(quiet([*arguments, "--stage", "face"])[0], 0)
        for name in ("vae", "base"):
            mine, whole = self.load(folder, name), self.load(self.state, name)
            self.assertEqual(mine["names"], whole["names"])
            for found, made in zip(mine["average"], whole["average"]):
                self.assertTrue(torch.equal(found, made.half().float()))
        kept = [json.loads((f / "scale.json").read_text())["scale"] for f in (folder, self.state)]
        self.assertEqual(kept[0], kept[1])
        status, said = quiet(arguments)
        self.assertEqual(status, 3)
        self.assertIn("vae.pt: this training has its own", said)

    def test_experts_can_be_begun_with(self):
        folder, model = self.folder / "adopted-experts", self.state / "model"
        arguments = ["--state", folder, "--smoke", "--from", model, "--experts"]
        self.assertEqual(quiet([*arguments, model, "--export"])[0], 0)
        for name in ("face", "hand", "gates"):
            made, found = (load_file(f / f"{name}.safetensors") for f in (model, folder / "model"))
            self.assertEqual(made.keys(), found.keys())
            for key, value in made.items():
                self.assertTrue(torch.equal(value, found[key]), key)
        wrong = self.folder / "wrong-experts"
        wrong.mkdir()
        for name in ("face", "hand", "gates"):
            made = load_file(model / f"{name}.safetensors")
            key = next(k for k in made if not k.endswith(".alpha"))
            save_file({**made, key: made[key][:-1].contiguous()}, wrong / f"{name}.safetensors")
        arguments[1] = self.folder / "refused-experts"
        status, said = quiet([*arguments, wrong, "--export"])
        self.assertEqual(status, 3)
        self.assertIn("face.safetensors: ", said)
        self.assertIn("experts of another recipe", said)
        self.assertFalse((arguments[1] / "face.pt").exists())

    def test_a_model_of_another_recipe_is_refused(self):
        for given, needle in ((self.state, "not a model folder"), (self.folder / "wide", "another recipe")):
            if given.name == "wide":
                made = recipe.smoke()
                made["unet"].update(cross_attention_dim=32)
                made["text"].update(hidden_size=32)
                tokenizer = words.CLIPTokenizer.from_pretrained(self.state / "tokenizer")
                networks.save_folder(given, made, self.state / "tokenizer", tokenizer,
                                     networks.make_text(made, tokenizer), networks.make_unet(made),
                                     networks.make_vae(made))
            folder = self.folder / f"from-{given.name}"
            status, said = quiet(["--state", folder, "--smoke", "--from", given])
            self.assertEqual(status, 3, said)
            self.assertIn(needle, said)
            self.assertFalse((folder / "vae.pt").exists() or (folder / "base.pt").exists())

    def refused(self, folder, *needles):
        status, said = quiet(["--state", folder, "--smoke", "--stage", "base"])
        self.assertEqual(status, 3, said)
        for needle in needles:
            self.assertIn(needle, said)

    def test_checkpoint_of_another_recipe_is_refused(self):
        folder = self.folder / "other"
        shutil.copytree(self.state, folder)
        (folder / "base.pt").unlink()
        saved = self.load(folder, "vae")
        torch.save({**saved, "fingerprint": "0123456789abcdef"}, folder / "vae.pt")
        self.refused(folder, "vae.pt", "another recipe", "0123456789abcdef")
        (folder / "vae.pt").write_bytes(b"no checkpoint")
        self.refused(folder, "vae.pt", "not a checkpoint")
        (folder / "vae.pt").unlink()
        self.refused(folder, "stage 'vae' is at step 0 of 6")
        shown = json.loads((folder / "recipe.json").read_text())
        (folder / "recipe.json").write_text(json.dumps({**shown, "name": "full"}))
        self.refused(folder, "recipe.json", "'full'")

    def test_latents_of_another_vae_are_refused(self):
        folder = self.folder / "latents"
        shutil.copytree(self.state, folder)
        (folder / "base.pt").unlink()
        progress = folder / "sets" / "base" / "progress.json"
        progress.write_text(json.dumps({"done": 24, "maker": "00000000"}))
        self.refused(folder, "sets/base", "another VAE", "00000000", "Delete this folder")

    def test_disk_that_is_too_small_is_refused(self):
        folder = self.folder / "disk"
        shutil.copytree(self.state, folder)
        (folder / "base.pt").unlink()
        shutil.rmtree(folder / "sets")
        usage = shutil.disk_usage
        shutil.disk_usage = lambda path: types.SimpleNamespace(free=1000)
        try:
            self.refused(folder, "MiB", "larger disk")
        finally:
            shutil.disk_usage = usage
        self.assertFalse((folder / "sets" / "base" / "latents.npy").exists())

    def test_words_outside_the_vocabulary_are_spelled_in_bytes(self):
        tokenizer = words.CLIPTokenizer.from_pretrained(self.state / "tokenizer")
        ids = words.encode(tokenizer, ["żółć 猫 xylophone", ""])
        self.assertLess(ids.max(), len(tokenizer))
        self.assertGreater((ids[0] != tokenizer.eos_token_id).sum(), 10)

    def test_every_word_of_the_captions_is_one_token(self):
        tokenizer = words.make_tokenizer(self.folder / "words", recipe.FULL["merges"])
        texts = words.corpus(200).split("\n")
        for word in sorted({w for text in texts for w in re.findall("[a-z]+", text)}):
            self.assertEqual(len(tokenizer(word)["input_ids"]), 3, word)
        ids = words.encode(tokenizer, texts)
        self.assertEqual(len({tuple(row) for row in ids.tolist()}), len(set(texts)), "none is cut off")
        self.assertTrue((ids[:, -1] == tokenizer.eos_token_id).all())

    def test_noise_is_that_of_a_seed_alone(self):
        made = recipe.smoke()
        sets = data.Batches(self.state, made, "base", {"base": 1.0},
                            words.CLIPTokenizer.from_pretrained(self.state / "tokenizer"), 1.0)
        first, again, other = sets.batch(3), sets.batch(3), sets.batch(4)
        for key in first:
            self.assertTrue(torch.equal(first[key], again[key]))
        self.assertFalse(torch.equal(first["noise"], other["noise"]))
        rows = np.concatenate([sets.rows("base", step, 4) for step in range(6)])
        self.assertEqual(sorted(rows), list(range(24)), "an epoch sees every picture once")

    def test_files_are_read_by_diffusers_and_the_program(self):
        from diffusers import StableDiffusionPipeline
        from golden.mole import load_files, targets, wrap

        folder = self.state / "model"
        pipeline = StableDiffusionPipeline.from_pretrained(folder)
        files = load_files(folder)
        layers = len(targets(pipeline.unet))
        self.assertEqual([len(files[n]) for n in ("face", "hand", "gates")], [3 * layers, 3 * layers, 6 * layers])
        wrap(pipeline.unet, files)
        if not os.environ.get("MOLE"):
            self.skipTest("MOLE, the program, is not given")
        out = self.folder / "drawn.png"
        command = [os.environ["MOLE"], "generate", "-q", "--model", folder, "--prompt", "a man", "--steps", "2",
                   *(w for n in ("face", "hand", "gates") for w in (f"--{n}", folder / f"{n}.safetensors")),
                   "-o", out]
        subprocess.run([str(c) for c in command], check=True)
        self.assertTrue(out.exists())


if __name__ == "__main__":
    result = unittest.main(argv=[sys.argv[0], *(f"-k{text}" for text in sys.argv[1:])], exit=False, verbosity=0,
                           warnings="ignore").result
    for test, why in result.skipped:
        print(f"SKIP {test.id().partition('.')[2] if hasattr(test, 'id') else test}: {why}")
    bad = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - bad - len(result.skipped)} passed, {bad} failed, {len(result.skipped)} skipped")
    sys.exit(bad > 0)
