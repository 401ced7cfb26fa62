"""The hooks on PyTorch and diffusers, against golden runs; skipped where those are missing."""

import math
import os
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import json

import numpy as np

import mole_trace

try:
    import torch

    from mole_trace import hooks
    from mole_trace.trace import OTHERS
except ImportError:
    torch = None
try:
    import diffusers
    import transformers
except ImportError:
    diffusers = None

GOLDEN = os.path.normpath(
    os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../golden")
)
MODEL = os.path.join(GOLDEN, "models/sd15-tiny")


def golden(name):
    """(manifest, tensors) of a golden run."""
    folder = os.path.join(GOLDEN, "runs", name)
    with open(os.path.join(folder, "manifest.json"), encoding="utf-8") as file:
        return json.load(file), mole_trace.read(os.path.join(folder, "tensors.safetensors"))[0]


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder, self.path = folder.name, os.path.join(folder.name, "t.safetensors")

    def compare(self, name, tolerance):
        """The trace holds every tap of the golden run, in its order, with its values."""
        manifest, tensors = golden(name)
        got, _ = mole_trace.read(self.path)
        taps = [tap["name"] for tap in manifest["taps"]]
        self.assertEqual([tap for tap in got if tap in set(taps)], taps)
        for tap in manifest["taps"]:
            truth, x = tensors[tap["tensor"]], got[tap["name"]]
            self.assertEqual(x.shape, truth.shape, tap["name"])
            error = np.abs(x - truth).max() / np.abs(truth).max()
            self.assertLessEqual(error, tolerance, tap["name"])
        return got


@unittest.skipIf(torch is None, "PyTorch is not installed")
class Modules(Case):
    def net(self):
        torch.manual_seed(1)
        net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.5), torch.nn.SiLU())
        return net.eval()

    def test_names_inputs_values(self):
        net, x = self.net(), torch.ones(2, 3)
        with mole_trace.Writer(self.path) as trace, hooks.watch(net, "net", trace, inputs=True):
            y = net(x)
        got, _ = mole_trace.read(self.path)
        self.assertEqual(list(got), ["net.0.in", "net.0", "net.2.in", "net.2", "net"])
        np.testing.assert_array_equal(got["net.0.in"], x.numpy())
        np.testing.assert_array_equal(got["net"], y.detach().numpy())
        self.assertFalse(any(m._forward_hooks or m._forward_pre_hooks for m in net.modules()))

    def test_only_and_skip(self):
        net = self.net()
        with mole_trace.Writer(self.path) as trace:
            with hooks.watch(net, "net", trace, only=["net.*"], skip=["*.0"]):
                net(torch.ones(2, 3))
        self.assertEqual(list(mole_trace.read(self.path)[0]), ["net.2"])

    def test_twice_is_an_error_without_a_step(self):
        net = self.net()
        with self.assertRaisesRegex(mole_trace.TraceError, "net.0 comes twice"):
            with mole_trace.Writer(self.path) as trace, hooks.watch(net, "net", trace):
                net(torch.ones(2, 3))
                net(torch.ones(2, 3))
        self.assertEqual(os.listdir(self.folder), [])
        self.assertFalse(any(m._forward_hooks for m in net.modules()))
        with mole_trace.Writer(self.path) as trace, hooks.watch(net, "net", trace):
            for k in range(2):
                with trace.step(k):
                    net(torch.ones(2, 3))
        self.assertEqual(len(mole_trace.read(self.path)[0]), 6)

    def test_every_type_is_kept(self):
        kinds = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}
        for code, kind in {**kinds, "F64": torch.float64}.items():
            net = self.net().to(kind)
            with mole_trace.Writer(self.path) as trace, hooks.watch(net, "net", trace, inputs=True):
                y = net(torch.ones(2, 3, dtype=kind))
            got, about = mole_trace.read(self.path)
            self.assertEqual(about["precision"], code.lower())
            self.assertEqual({c for _, c in mole_trace.types(self.path)[0].values()}, {code})
            np.testing.assert_array_equal(got["net"].astype("f8"), y.detach().double().numpy())
        with mole_trace.Writer(self.path, precision="f32") as trace:
            trace.tap("x", torch.ones(2, dtype=torch.bfloat16))
        self.assertEqual(mole_trace.types(self.path)[0]["x"], ((2,), "F32"))

    def test_types_that_numpy_has_not(self):
        """Every value of every such type: torch's own float32 is the same number."""
        bits = torch.arange(256, dtype=torch.uint8)
        kinds = {c: getattr(torch, n) for n, c in OTHERS.items() if hasattr(torch, n)}
        self.assertIn("F8_E4M3", kinds)
        with mole_trace.Writer(self.path) as trace:
            for code, kind in kinds.items():
                every = bits.repeat(2) if code == "BF16" else bits
                trace.tap(code, every.view(kind).reshape(16, -1).t())
            trace.tap("scalar", torch.tensor(1.5, dtype=torch.bfloat16, requires_grad=True))
            trace.tap("ids", torch.tensor([49407], dtype=torch.int32))
            trace.tap("mask", torch.tensor([True]))
        got, _ = mole_trace.read(self.path)
        shown = {name: code for name, (_, code) in mole_trace.types(self.path)[0].items()}
        for code, kind in kinds.items():
            every = bits.repeat(2) if code == "BF16" else bits
            truth = every.view(kind).reshape(16, -1).t().float().numpy()
            np.testing.assert_array_equal(got[code], truth)
            self.assertEqual(shown[code], code)
        self.assertEqual((float(got["scalar"]), shown["scalar"]), (1.5, "BF16"))
        self.assertEqual((shown["ids"], shown["mask"]), ("I32", "BOOL"))

    def test_outputs_without_tensors(self):
        self.assertIsNone(hooks.first_tensor(None))
        self.assertIsNone(hooks.first_tensor(()))
        self.assertIsNone(hooks.first_tensor({"x": "text"}))
        x = torch.ones(1)
        self.assertIs(hooks.first_tensor(({"x": (x,)},)), x)


def exact_angles(timesteps, dim, flip_sin_to_cos=False, downscale_freq_shift=1, **_):
    """diffusers computes them in float32 whatever the model's type; the golden truth does not."""
    half = dim // 2
    k = torch.arange(half, dtype=torch.float64)
    angle = timesteps[:, None].double() * torch.exp(
        -math.log(10000) * k / (half - downscale_freq_shift)
    )
    parts = [torch.sin(angle), torch.cos(angle)]
    return torch.cat(parts[::-1] if flip_sin_to_cos else parts, -1)


@unittest.skipIf(torch is None or diffusers is None, "PyTorch or diffusers are not installed")
@unittest.skipUnless(os.path.isdir(MODEL), f"no {MODEL}")
class Golden(Case):
    def part(self, kind, folder):
        return kind.from_pretrained(os.path.join(MODEL, folder)).double().eval()

    def test_unet(self):
        unet = self.part(diffusers.UNet2DConditionModel, "unet")
        manifest, tensors = golden("unet-step-plain")
        inputs = manifest["inputs"]
        sample = torch.from_numpy(tensors[inputs["sample"]].astype(np.float64))
        context = torch.from_numpy(tensors[inputs["encoder_hidden_states"]].astype(np.float64))
        exact = mock.patch("diffusers.models.embeddings.get_timestep_embedding", exact_angles)
        with torch.no_grad(), exact, mole_trace.Writer(self.path) as trace:
            with hooks.watch(unet, "unet", trace, inputs=True):
                unet(sample, inputs["timestep"], context)
        got = self.compare("unet-step-plain", 1e-12)
        full, _ = golden("unet-step")  # the same network with experts: every other tap has its name
        names = [tap["name"] for tap in full["taps"] if ".mole." not in tap["name"]]
        self.assertEqual([name for name in got if name in set(names)], names)
        layers = [f"{n}.in" for n, m in unet.named_modules() if n and hasattr(m, "weight")]
        self.assertEqual([n for n in layers if f"unet.{n}" not in got], [])

    def test_what_was_computed_in(self):
        """diffusers computes the timestep's sinusoid in float32, whatever the model's type."""
        for code, kind in (("F64", torch.float64), ("BF16", torch.bfloat16)):
            unet = self.part(diffusers.UNet2DConditionModel, "unet").to(kind)
            only = ["unet.time_proj", "unet.conv_in", "unet.conv_out"]
            inputs = torch.ones(1, 4, 8, 8), 1, torch.ones(1, 5, 40)
            with torch.no_grad(), mole_trace.Writer(self.path) as trace:
                with hooks.watch(unet, "unet", trace, only=only):
                    unet(inputs[0].to(kind), inputs[1], inputs[2].to(kind))
            shown, about = mole_trace.types(self.path)
            self.assertEqual([shown[name][1] for name in only], ["F32", code, code])
            self.assertEqual((list(shown), about["precision"]), (only, code.lower()))

    def test_text_encoder(self):
        encoder = self.part(transformers.CLIPTextModel, "text_encoder")
        manifest, tensors = golden("text-encoder")
        ids = torch.from_numpy(tensors[manifest["inputs"]["input_ids"]].copy())
        with torch.no_grad(), mole_trace.Writer(self.path) as trace:
            with hooks.watch(encoder, "text_encoder", trace, inputs=True):
                encoder(input_ids=ids)
        got = self.compare("text-encoder", 1e-12)
        given = got["text_encoder.text_model.embeddings.token_embedding.in"]
        np.testing.assert_array_equal(given, ids.numpy())

    def assert_untouched(self, pipe):
        self.assertNotIn("prepare_latents", vars(pipe))
        self.assertNotIn("step", vars(pipe.scheduler))
        for part in (pipe.text_encoder, pipe.unet, pipe.vae):
            self.assertFalse(any(m._forward_hooks or m._forward_pre_hooks for m in part.modules()))

    def run_pipeline(self, name, guidance_scale=None, kind=None, **options):
        kind = kind or torch.float64
        settings = golden(name)[0]["settings"]
        settings["guidance_scale"] = guidance_scale or settings["guidance_scale"]
        pipe = diffusers.StableDiffusionPipeline.from_pretrained(MODEL, safety_checker=None)
        pipe.scheduler = diffusers.DDIMScheduler.from_config(
            {**pipe.scheduler.config, **settings.pop("scheduler")}
        )
        pipe.set_progress_bar_config(disable=True)
        for part in (pipe.text_encoder, pipe.unet, pipe.vae):
            part.to(kind)
        shape = (1, 4, settings["height"] // 8, settings["width"] // 8)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(settings.pop("seed")))
        with mole_trace.Writer(self.path) as trace, hooks.watch_pipeline(pipe, trace, **options):
            image = pipe(latents=noise.to(kind), output_type="pt", **settings).images
            trace.tap("image", image)
        self.assert_untouched(pipe)

    def test_pipeline(self):
        self.run_pipeline("run-5-plain")
        # diffusers takes the timesteps' angles and alpha's roots in float32, whatever the type.
        got = self.compare("run-5-plain", 1e-4)
        names = [tap["name"] for tap in golden("text-encoder")[0]["taps"]]
        self.assertEqual([n for n in names if got.get(n, np.empty(0)).shape[:1] != (2,)], [])
        np.testing.assert_array_equal(got[names[-1]], got["prompt_embeds"])
        for tap in ("step.000/unet.conv_in", "step.004/unet.conv_out", "vae.decoder.conv_in"):
            self.assertIn(tap, got)

    def test_pipeline_in_bfloat16(self):
        """The two prompts' taps are joined in the type they have."""
        only = ["prompt_embeds", "*.embeddings"]
        self.run_pipeline("run-5-plain", kind=torch.bfloat16, only=only)
        shown, about = mole_trace.types(self.path)
        self.assertEqual(about["precision"], "bf16")
        taps = {n: s for n, s in shown.items() if n != "image"}
        self.assertEqual({(s[0][0], s[1]) for s in taps.values()}, {(2, "BF16")})

    def test_pipeline_only(self):
        self.run_pipeline("run-5-plain", only=["latents", "vae.*"])
        names = list(mole_trace.read(self.path)[0])
        self.assertEqual(names[:6], ["latents"] + [f"step.00{k}/latents" for k in range(5)])
        self.assertTrue(all(n.startswith("vae.") for n in names[6:-1]) and names[-1] == "image")

    def test_pipeline_without_guidance(self):
        self.run_pipeline("run-5-plain", only=["*.embeddings", "prompt_embeds"], guidance_scale=1.0)
        got, _ = mole_trace.read(self.path)
        self.assertEqual(list(got)[1:], ["prompt_embeds", "image"])
        self.assertEqual([x.shape[:2] for x in got.values()][:2], [(1, 77), (1, 77)])

    def test_a_failing_pipeline_is_left_as_it_was(self):
        pipe = diffusers.StableDiffusionPipeline.from_pretrained(MODEL, safety_checker=None)
        with self.assertRaises(ZeroDivisionError):
            with mole_trace.Writer(self.path) as trace, hooks.watch_pipeline(pipe, trace):
                raise ZeroDivisionError
        self.assert_untouched(pipe)
        self.assertEqual(os.listdir(self.folder), [])


if __name__ == "__main__":
    unittest.main()
