"""Every operation of mole_ref against golden/ops, and those without a golden case against NumPy."""

import unittest

import numpy as np

import mole_ref
from golden import Case, error

F64, F32 = 1e-12, 1e-4  # float32 is judged in units of PyTorch's own error by the C tests


def matmul(ref, attrs, inputs, how):
    return ref.matmul(inputs["a"], inputs["b"], attrs["transpose_b"], how=how)


def linear(ref, attrs, inputs, how):
    return ref.linear(inputs["x"], inputs["weight"], inputs["bias"], how=how)


def conv2d(ref, attrs, inputs, how):
    return ref.conv2d(inputs["x"], inputs["weight"], inputs["bias"], attrs["stride"], attrs["padding"],
                      how=how)


def group_norm(ref, attrs, inputs, how):
    return ref.group_norm(inputs["x"], inputs["weight"], inputs["bias"], attrs["groups"], attrs["eps"])


def layer_norm(ref, attrs, inputs, how):
    return ref.layer_norm(inputs["x"], inputs["weight"], inputs["bias"], attrs["eps"])


def attention(ref, attrs, inputs, how):
    return ref.attention(inputs["q"], inputs["k"], inputs["v"], attrs["heads"], attrs["scale"],
                         attrs["causal"], how=how)


def embedding(ref, attrs, inputs, how):
    return ref.embedding(inputs["ids"], inputs["weight"])


def upsample_nearest(ref, attrs, inputs, how):
    return ref.upsample_nearest(inputs["x"], attrs["size"])


def timestep_embedding(ref, attrs, inputs, how):
    return ref.timestep_embedding(inputs["timesteps"], attrs["dim"], attrs["flip_sin_to_cos"],
                                  attrs["freq_shift"], attrs["max_period"], attrs["angles"])


def concat(ref, attrs, inputs, how):
    return ref.concat(inputs["x"])


def of_x(name):
    return lambda ref, attrs, inputs, how: getattr(ref, name)(inputs["x"])


OPS = {"matmul": matmul, "linear": linear, "conv2d": conv2d, "group_norm": group_norm,
       "layer_norm": layer_norm, "attention": attention, "embedding": embedding,
       "upsample_nearest": upsample_nearest, "timestep_embedding": timestep_embedding, "concat": concat,
       **{name: of_x(name) for name in ("silu", "gelu", "quick_gelu", "sigmoid", "softmax", "geglu")}}


class Golden(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.f64, cls.f32 = mole_ref.load("f64"), mole_ref.load("f32")

    def check(self, op):
        worst = 0
        for name, attrs, inputs, _, outputs in Case(f"ops/{op}").calls():
            # The float32 angles have a rule of their own (tests/ops): float32's own precision here.
            strict = attrs.get("angles") != "f32"
            for ref, how, bound in ((self.f64, "blas", F64), (self.f64, "plain", F64),
                                    (self.f32, "blas", F32), (self.f32, "plain", F32)):
                out = OPS[op](ref, attrs, inputs, how)
                self.assertEqual(out.dtype, ref.dtype)
                found = error(np.asarray(out, np.float64), outputs["out"])
                if ref is self.f64 and strict:
                    worst = max(worst, found)
                self.assertLessEqual(found, bound if strict else F32, f"{op}/{name} {ref.precision} {how}")
        print(f"{op:20} f64 at most {worst:.1e}")

    def test_every_operation_has_a_case(self):
        from golden import GOLDEN
        folders = {path.name for path in (GOLDEN / "ops").iterdir()}
        self.assertLessEqual(set(OPS) | {"mole"}, folders)
        # What C has and Python has not: none that Python could call.
        for name in folders - set(OPS) - {"mole"}:
            self.assertNotIn("mole_" + name, mole_ref.library.SIGNATURES)

    def test_mole(self):
        for name, _, inputs, call, outputs in Case("ops/mole").calls():
            case = Case("ops/mole")
            experts = {e["name"]: {key: value if key == "alpha" else case.tensors[value]
                                   for key, value in e.items() if key != "name"} for e in call["experts"]}
            for ref, bound in ((self.f64, F64), (self.f32, F32)):
                taps = {}
                out = ref.mole_layer(inputs["x"], inputs["weight"], inputs["bias"], experts,
                                     inputs["gate.Phi.weight"], inputs["gate.Phi.bias"], taps=taps)
                taps["out"] = out
                self.assertEqual(set(taps), set(outputs), name)
                for tap, truth in outputs.items():
                    self.assertLessEqual(error(np.float64(taps[tap]), truth), bound, f"{name} {tap}")


for op_name in OPS:
    setattr(Golden, f"test_{op_name}", lambda self, op=op_name: self.check(op))


class Formulas(unittest.TestCase):
    """Against the equation in NumPy: also where the golden cases have only one shape."""

    @classmethod
    def setUpClass(cls):
        cls.ref = mole_ref.load("f64")
        cls.rng = np.random.default_rng(1)

    def close(self, got, expected):
        self.assertLessEqual(error(got, expected), 1e-13)

    def test_products(self):
        ref, rng = self.ref, self.rng
        a, b = rng.normal(size=(2, 3, 5)), rng.normal(size=(5, 4))
        self.close(ref.matmul(a, b), a @ b)
        self.close(ref.matmul(a[0, 0], b), a[0, 0] @ b)
        self.close(ref.matmul(a, b.T, transpose_b=True), a @ b)
        self.close(ref.linear(a, b.T, np.arange(4.0)), a @ b + np.arange(4))
        self.close(ref.linear_scaled(a, b.T, -0.25), -0.25 * (a @ b))

    def test_memory_order_does_not_matter(self):
        ref, x = self.ref, self.rng.normal(size=(2, 6, 4, 3))
        weight, bias = self.rng.normal(size=6), self.rng.normal(size=6)
        plain = ref.group_norm(x, weight, bias, 3, 1e-5)
        for other in (np.asfortranarray(x), x[::-1].copy()[::-1], x.astype("f8").byteswap().view(">f8")):
            self.close(ref.group_norm(other, weight, bias, 3, 1e-5), plain)
        self.close(plain, self.numpy_group_norm(x, weight, bias, 3, 1e-5))
        self.close(ref.group_norm(x[:, :, 0, 0], weight, bias, 3, 1e-5),
                   self.numpy_group_norm(x[:, :, :1, :1], weight, bias, 3, 1e-5)[:, :, 0, 0])

    @staticmethod
    def numpy_group_norm(x, weight, bias, groups, eps):
        rows = x.reshape(x.shape[0], groups, -1)
        rows = (rows - rows.mean(2, keepdims=True)) / np.sqrt(rows.var(2, keepdims=True) + eps)
        return rows.reshape(x.shape) * weight[:, None, None] + bias[:, None, None]

    def test_convolution(self):
        x, weight = self.rng.normal(size=(2, 3, 5, 4)), self.rng.normal(size=(2, 3, 3, 2))
        for padding, sides in ((1, (1, 1, 1, 1)), ((0, 2), (2, 2, 0, 0)), ((1, 0, 2, 0), (1, 0, 2, 0))):
            left, right, top, bottom = sides
            padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 2), (2, 3))[:, :, ::2, ::2]
            self.close(self.ref.conv2d(x, weight, stride=2, padding=padding),
                       np.einsum("bihwuv,oiuv->bohw", windows, weight))

    def test_attention_in_torchs_shapes(self):
        q, k, v = (self.rng.normal(size=(2, 3, tokens, 4)) for tokens in (5, 5, 5))
        for causal in (False, True):
            scores = q @ k.transpose(0, 1, 3, 2) / 2
            if causal:
                scores = np.where(np.tril(np.ones((5, 5), bool)), scores, -np.inf)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            self.close(self.ref.scaled_dot_product_attention(q, k, v, is_causal=causal), weights @ v)

    def test_small_ones(self):
        ref, x, y = self.ref, self.rng.normal(size=(2, 3, 4, 5)), self.rng.normal(size=(2, 3))
        self.close(ref.add(x, 2 * x), x + 2 * x)
        self.close(ref.add_per_channel(x, y), x + y[:, :, None, None])
        self.close(ref.to_channels_last(x), x.transpose(0, 2, 3, 1))
        self.close(ref.from_channels_last(ref.to_channels_last(x)), x)
        self.close(ref.guidance(x, 3 * x, 7.5), x + 7.5 * (3 * x - x))
        self.close(ref.concat([x, x + 1], axis=-1), np.concatenate([x, x + 1], -1))
        self.close(ref.concat([x, x[:1]], axis=0), np.concatenate([x, x[:1]], 0))
        self.close(ref.sigmoid(3.0), np.array(1 / (1 + np.exp(-3.0))))
        self.close(ref.embedding([[1, 0], [2, 2]], x[0, :, 0]), x[0, :, 0][[[1, 0], [2, 2]]])

    def test_plain_lora(self):
        ref, rng = self.ref, self.rng
        x, weight = rng.normal(size=(2, 5, 4)), rng.normal(size=(3, 4))
        down, up = rng.normal(size=(2, 4)), rng.normal(size=(3, 2))
        taps = {}
        y = ref.mole_layer(x, weight, None, {"face": {"alpha": 0.5, "lora_down": down, "lora_up": up}},
                           taps=taps)
        self.close(y, x @ weight.T + 0.25 * (x @ down.T) @ up.T)
        self.assertEqual(list(taps), ["mole.base", "mole.face.expert"])
        y = ref.mole_layer(x, weight, None, {"face": {"lora_down": down, "lora_up": up}})
        self.close(y, x @ weight.T + (x @ down.T) @ up.T)


class Refusals(unittest.TestCase):
    def test_messages(self):
        ref = mole_ref.load("f64")
        x, one = np.ones((1, 6, 2, 2)), np.ones(6)
        experts = {"face": {"lora_down": np.ones((1, 2)), "lora_up": np.ones((2, 1))}}
        cases = [
            (lambda: ref.group_norm(x, one, one, 4, 1e-5), "4 groups do not divide 6"),
            (lambda: ref.group_norm(x, one[:5], one, 3, 1e-5), r"weight is \(5,\): expected \(6\)"),
            (lambda: ref.group_norm(x, one, one, 3, 0), "eps is 0"),
            (lambda: ref.conv2d(x, np.ones((1, 5, 1, 1))), r"weight is \(1, 5, 1, 1\)"),
            (lambda: ref.conv2d(x, np.ones((1, 6, 5, 1))), "does not fit"),
            (lambda: ref.conv2d(x, np.ones((1, 6, 1, 1)), stride=0), "stride 0"),
            (lambda: ref.conv2d(x, np.ones((1, 6, 1, 1)), padding=-1), "padding -1"),
            (lambda: ref.linear(np.ones((2, 3)), np.ones((2, 4))), "do not fit"),
            (lambda: ref.matmul(np.ones((2, 3)), np.ones((2, 4))), "do not fit"),
            (lambda: ref.linear(np.ones((0, 3)), np.ones((2, 3))), "at least 1"),
            (lambda: ref.geglu(np.ones((2, 3))), "even last"),
            (lambda: ref.attention(np.ones((1, 2, 6)), np.ones((1, 2, 6)), np.ones((1, 2, 6)), 4), "4 heads"),
            (lambda: ref.embedding([7], np.ones((3, 2))), "id 7 at position 0, table of 3"),
            (lambda: ref.embedding([2**40], np.ones((3, 2))), "32 bits"),
            (lambda: ref.concat([x, np.ones((1, 6, 2, 3))]), "beside"),
            (lambda: ref.silu(np.ones(3), ) if False else ref.linear(np.ones(3), np.ones((2, 3)), how="mkl"),
             "how 'mkl'"),
            (lambda: ref.mole_layer(np.ones((1, 2)), np.ones((2, 2)), None, experts), "expected \\(B, T, d\\)"),
            (lambda: ref.mole_layer(np.ones((1, 2, 2)), np.ones((2, 2)), None, {}), "no experts"),
            (lambda: ref.set_threads(0), "0 threads"),
            (lambda: ref.generator(-1), "seed -1"),
            (lambda: ref.ddim(0), "0 steps"),
            (lambda: ref.ddim(10, steps_ofset=1), "no setting 'steps_ofset'"),
            (lambda: ref.ddim(10, prediction_type="noise"), "expected one of epsilon"),
            (lambda: ref.model("no/such"), "no/such"),
        ]
        for call, words in cases:
            with self.assertRaisesRegex(mole_ref.Error, words):
                call()
        for wrong in (np.ones(3, complex), np.array(["a"]), np.array([None])):
            with self.assertRaises(TypeError):
                ref.silu(wrong)
        with self.assertRaises(TypeError):
            ref.embedding([0.5], np.ones((3, 2)))


if __name__ == "__main__":
    unittest.main()
