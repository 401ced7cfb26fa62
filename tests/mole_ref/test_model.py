"""Handles of mole_ref: generator, DDIM, tokenizer, models, and their taps."""

import gc
import json
import threading
import unittest

import numpy as np

import mole_ref
from golden import GOLDEN, Case, error

FOLDER = GOLDEN / "models/sd15-tiny"
MOLE = GOLDEN / "models/sd15-tiny-mole"
EXPERTS = {"face": MOLE / "face.safetensors", "hand": MOLE / "hand.safetensors"}


def open_model(ref):
    return ref.model(FOLDER, experts=EXPERTS, gates=MOLE / "gates.safetensors")


class Sampler(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.ref = mole_ref.load("f64")

    def test_randn_is_torchs_to_the_bit(self):
        checked = 0
        case = Case("sampler/randn")
        for vector in case.manifest["vectors"]:
            if vector["stored"] != "all":
                continue
            generator = self.ref.generator(vector["seed"])
            draw = getattr(generator, vector["function"])
            got = np.concatenate([draw(size, vector["dtype"]) for size in vector["sizes"]])
            truth = case.tensors[vector["tensor"]]
            if vector["function"] == "rand" or (vector["dtype"] == "float32" and min(vector["sizes"]) >= 16):
                np.testing.assert_array_equal(got, truth, vector["id"])
            else:  # libm's last bit
                np.testing.assert_array_almost_equal_nulp(got, truth, 2)
            checked += 1
        self.assertGreater(checked, 50)

    def test_cuda(self):
        first, offset = self.ref.randn_cuda((4, 5), seed=7)
        self.assertEqual((first.shape, first.dtype, offset), ((4, 5), np.float32, 4))
        again, _ = self.ref.randn_cuda(20, seed=7)
        np.testing.assert_array_equal(first.ravel(), again)
        later, _ = self.ref.randn_cuda(20, seed=7, offset=offset)
        self.assertFalse(np.array_equal(later, again))
        with self.assertRaisesRegex(mole_ref.Error, "multiple of 4"):
            self.ref.randn_cuda(20, seed=7, offset=1)

    def test_ddim_steps(self):
        for name, attrs, inputs, _, outputs in Case("sampler/ddim_step").calls():
            fields = {key: value for key, value in attrs.items()
                      if key not in ("timestep", "num_inference_steps", "eta")}
            ddim = self.ref.ddim(attrs["num_inference_steps"], "diffusers", **fields)
            k = list(ddim.timesteps).index(attrs["timestep"])
            out = ddim.step(k, inputs["model_output"], inputs["sample"], attrs["eta"],
                            inputs["variance_noise"])
            self.assertLessEqual(error(out, outputs["prev_sample"]), 1e-12, name)

    def test_ddim_tables(self):
        ddim = self.ref.ddim(50)
        self.assertTrue(ddim.settings["set_alpha_to_one"])
        self.assertEqual(ddim.settings["beta_schedule"], "scaled_linear")
        np.testing.assert_array_equal(ddim.timesteps, np.arange(981, 0, -20))
        tables = json.loads((GOLDEN / "sampler/ddim-tables.json").read_text())["tables"]
        truth = np.array([int(bits, 16) for bits in tables[0]["alphas_cumprod"].split()], np.uint32)
        self.assertEqual(tables[0]["beta_schedule"], "scaled_linear")
        np.testing.assert_array_equal(ddim.alphas_cumprod.view(np.uint32), truth)
        self.assertEqual(ddim.final_alpha_cumprod, 1)
        other = self.ref.ddim(4, FOLDER / "scheduler/scheduler_config.json")
        self.assertEqual(len(other.timesteps), 4)
        for refused in (lambda: ddim.step(50, [1.0], [1.0]), lambda: ddim.step(-1, [1.0], [1.0]),
                        lambda: ddim.step(0, [1.0], [1.0], eta=1), lambda: ddim.step(0, [1.0], [1.0, 2])):
            with self.assertRaises(mole_ref.Error):
                refused()


class Text(unittest.TestCase):
    def test_ids_are_transformers(self):
        ref = mole_ref.load("f64")
        tokenizer = ref.tokenizer(FOLDER / "tokenizer")
        rows = json.loads((GOLDEN / "tokenizer/sd15-tiny.json").read_text())["strings"]
        self.assertGreater(len(rows), 300)
        for row in rows:
            self.assertEqual(tokenizer.encode(row["text"]).tolist(), row["ids"], repr(row["text"]))
            if "full" in row:
                self.assertEqual(tokenizer.row(row["text"]).tolist(), row["full"], repr(row["text"]))
        self.assertEqual(tokenizer.piece(320), "a</w>")
        self.assertIsNone(tokenizer.piece(10**6))
        self.assertEqual((tokenizer.vocab_size, tokenizer.max_length), (1014, 77))
        with self.assertRaisesRegex(mole_ref.Error, "NUL"):
            tokenizer.encode("a\0b")


class Model(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.f64 = mole_ref.load("f64")
        cls.model = open_model(cls.f64)

    def check_taps(self, name, run, bound=1e-11):
        case = Case(f"runs/{name}")
        taps = {}
        run(case, taps)
        truth = case.taps()
        self.assertEqual(list(taps), list(truth))
        for tap, numbers in truth.items():
            self.assertLessEqual(error(np.float64(taps[tap]), numbers), bound, tap)

    def test_unet(self):
        def run(case, taps, model=self.model):
            out = model.unet(case.tensors["input/sample"], case.manifest["inputs"]["timestep"],
                             case.tensors["input/context"], taps=taps)
            np.testing.assert_array_equal(out, taps["unet.conv_out"])
        self.check_taps("unet-step", run)
        small = open_model(mole_ref.load("f32"))
        self.check_taps("unet-step", lambda case, taps: run(case, taps, small), 5e-5)

    def test_text_encoder(self):
        self.check_taps("text-encoder", lambda case, taps: self.model.encode_text(
            case.tensors["input/input_ids"], taps=taps))

    def test_vae(self):
        self.check_taps("vae-decode", lambda case, taps: self.model.decode(
            case.tensors["input/latents"], taps=taps))

    def arguments(self):
        rng = np.random.default_rng(3)
        return rng.normal(size=(1, 4, 4, 4)), 500, rng.normal(size=(1, 7, self.model.info.context_width))

    def test_forms_and_ways_agree(self):
        direct = self.model.unet(*self.arguments())
        for how, form in (("plain", "direct"), ("blas", "stacked"), ("plain", "stacked")):
            self.model.set(how, form)
            self.assertLessEqual(error(self.model.unet(*self.arguments()), direct), 1e-11)
        taps = {}
        self.model.unet(*self.arguments(), taps=taps)
        self.assertFalse([name for name in taps if name.endswith(".mole.base")])
        self.model.set()
        np.testing.assert_array_equal(self.model.unet(*self.arguments()), direct)

    def test_a_tap_may_answer(self):
        untouched = self.model.unet(*self.arguments())
        same = self.model.unet(*self.arguments(), taps=lambda name, x: x)
        np.testing.assert_array_equal(same, untouched)
        plain = self.f64.model(FOLDER)
        without = self.model.unet(*self.arguments(), taps=lambda name, x: 0 * x
                                  if name.endswith((".mole.face.expert", ".mole.hand.expert")) else None)
        self.assertLessEqual(error(without, plain.unet(*self.arguments())), 1e-12)
        self.assertGreater(error(without, untouched), 1e-3)

    def test_inputs(self):
        taps = {}
        self.model.unet(*self.arguments(), taps=taps, inputs=True)
        first = next(name for name in taps if name == "unet.conv_in.in")
        np.testing.assert_array_equal(taps[first], self.arguments()[0])
        name = "unet.mid_block.resnets.0.conv1"
        weight = golden_weight(name)
        self.assertLessEqual(error(self.f64.conv2d(taps[name + ".in"], *weight, padding=1), taps[name]), 1e-12)

    def test_trouble_in_a_tap_comes_out(self):
        def wrong_shape(name, x):
            return np.zeros(3)

        def fails(name, x):
            raise KeyError("mine")
        with self.assertRaisesRegex(mole_ref.Error, "unet.time_proj is"):
            self.model.unet(*self.arguments(), taps=wrong_shape)
        with self.assertRaisesRegex(KeyError, "mine"):
            self.model.unet(*self.arguments(), taps=fails)
        self.model.unet(*self.arguments())  # still of use

        def calls_back(name, x):
            self.model.decode(np.zeros((1, 4, 1, 1)))
        with self.assertRaisesRegex(mole_ref.Error, "in use"):
            self.model.unet(*self.arguments(), taps=calls_back)

    def test_experts_need_gates(self):
        with self.assertRaisesRegex(mole_ref.Error, "plain_lora"):
            self.f64.model(FOLDER, experts=EXPERTS)
        lora = self.f64.model(FOLDER, experts={"face": EXPERTS["face"]}, plain_lora=True)
        self.assertEqual(lora.info.mole_layers, 192)
        self.assertEqual(self.f64.model(FOLDER).info.mole_layers, 0)
        with self.assertRaisesRegex(mole_ref.Error, "no/gates"):
            self.f64.model(FOLDER, experts=EXPERTS, gates="no/gates")

    def test_shapes_are_checked(self):
        sample, timestep, context = self.arguments()
        for call, words in (
                (lambda: self.model.unet(sample[:, :3], timestep, context), "expected .any, 4, any, any."),
                (lambda: self.model.unet(sample, timestep, context[..., :8]), "context is"),
                (lambda: self.model.encode_text([[5000]]), "id 5000"),
                (lambda: self.model.encode_text([1, 2]), "expected .B, T."),
                (lambda: self.model.encode_text(np.zeros((1, 78), int)), "at most 77"),
                (lambda: self.model.decode(np.zeros((1, 3, 2, 2))), "latents is")):
            with self.assertRaisesRegex(mole_ref.Error, words):
                call()

    def test_handles_outlive_each_other(self):
        tokenizer = open_model(self.f64).tokenizer  # keeps its model
        gc.collect()
        self.assertEqual(tokenizer.piece(320), "a</w>")

    def test_threads_have_models_of_their_own(self):
        models = [open_model(self.f64) for _ in range(2)]
        results = [None, None]

        def work(i):
            results[i] = models[i].unet(*self.arguments())
        threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for result in results:
            np.testing.assert_array_equal(result, self.model.unet(*self.arguments()))


def golden_weight(name):
    from golden import tensors
    weights = tensors(FOLDER / "unet/diffusion_pytorch_model.safetensors")
    key = name[len("unet."):]
    return weights[key + ".weight"], weights[key + ".bias"]


if __name__ == "__main__":
    unittest.main()
