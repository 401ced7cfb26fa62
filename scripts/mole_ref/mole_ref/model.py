"""Whole models: a diffusers pipeline folder, its experts, and everything that happens inside."""

import ctypes
import types

import numpy as np

from .functional import HOW, whole
from .library import Error

FORMS = {"direct": 0, "stacked": 1}


class ExpertFile(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("path", ctypes.c_char_p)]


class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                ("vocab", "max_length", "hidden_size", "latent_channels", "context_width",
                 "image_channels", "pixels_per_latent")]
    _fields_ += [("scaling_factor", ctypes.c_double), ("mole_layers", ctypes.c_size_t)]


TAP = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t,
                       ctypes.POINTER(ctypes.c_size_t), ctypes.c_void_p)


class Tokenizer:
    """CLIP's byte-level BPE, from a tokenizer folder or a model."""

    def __init__(self, ref, folder=None, model=None):
        self._ref, self._model, self._handle = ref, model, ctypes.c_void_p()
        if model is None:
            ref.call("tokenizer_open", ctypes.byref(self._handle), str(folder).encode())
        else:
            self._handle = ctypes.c_void_p(ref.library.mole_model_tokenizer(model._handle))

    def __del__(self):
        if getattr(self, "_handle", None) and self._model is None:
            self._ref.library.mole_tokenizer_close(self._handle)

    @property
    def vocab_size(self):
        return self._ref.library.mole_tokenizer_vocab(self._handle)

    @property
    def max_length(self):
        return self._ref.library.mole_tokenizer_max_length(self._handle)

    def encode(self, text):
        """ids of `text`, without BOS and EOS, no limit -> (n) int32"""
        data = text.encode()
        count = ctypes.c_size_t()
        ids = np.empty(len(data) + 1, np.int32)
        for _ in range(2):  # a second time where normalisation made the text longer
            self._ref.call("tokenizer_encode", self._handle, data, len(data), ids, ids.size,
                           ctypes.byref(count))
            if count.value <= ids.size:
                break
            ids = np.empty(count.value, np.int32)
        return ids[:count.value].copy()

    def row(self, text):
        """BOS, ids, EOS, padding -> (max_length) int32; longer texts are cut off"""
        data = text.encode()
        row = np.empty(self.max_length, np.int32)
        self._ref.call("tokenizer_row", self._handle, data, len(data), row, None)
        return row

    def piece(self, token):
        """the vocabulary's spelling, as "photo</w>"; None for what is no id"""
        piece = self._ref.library.mole_tokenizer_piece(self._handle, token)
        return None if piece is None else piece.decode()


class Model:
    """A diffusers pipeline folder with its experts.

    experts  {"face": path, "hand": path}, in the order of the gates' rows; gates: their file.
             Experts without gates need plain_lora=True: they are added at full strength.
    info     sizes: vocab, max_length, hidden_size, latent_channels, context_width, image_channels,
             pixels_per_latent, scaling_factor, mole_layers
    """

    def __init__(self, ref, folder, experts=None, gates=None, plain_lora=False):
        experts = dict(experts or {})
        if experts and gates is None and not plain_lora:
            raise Error("experts without gates: their strength would be unknown; name gates, or say "
                        "plain_lora=True")
        if gates is not None and plain_lora:
            raise Error("plain_lora=True runs without gates")
        self._ref, self._handle = ref, ctypes.c_void_p()
        files = (ExpertFile * max(len(experts), 1))(
            *(ExpertFile(name.encode(), str(path).encode()) for name, path in experts.items()))
        ref.call("model_open", ctypes.byref(self._handle), str(folder).encode(),
                 files if experts else None, len(experts), None if gates is None else str(gates).encode())
        info = Info()
        ref.library.mole_model_info(self._handle, ctypes.byref(info))
        self.info = types.SimpleNamespace(**{name: getattr(info, name) for name, _ in Info._fields_})

    def __del__(self):
        if getattr(self, "_handle", None):
            self._ref.library.mole_model_close(self._handle)

    @property
    def tokenizer(self):
        return Tokenizer(self._ref, model=self)

    def set(self, how="blas", form="direct"):
        """how matrix products are computed: "blas", "plain"; the MoLE layers' form: "direct" (every
        tap), "stacked" (cheaper)"""
        if how not in HOW or form not in FORMS:
            raise Error(f"how {how!r}, form {form!r}: expected 'blas' or 'plain', 'direct' or 'stacked'")
        self._ref.call("model_set", self._handle, HOW[how], FORMS[form])

    def encode_text(self, ids, taps=None, inputs=False):
        """ids (B, T) -> CLIPTextModel's last_hidden_state (B, T, hidden_size)

        taps: None; a dict that receives every tap by name, in the order of execution; or a function
        of (name, array), which may return an array to go on with. inputs: also "NAME.in".
        """
        ids = whole(ids, "ids")
        if ids.ndim != 2:
            raise Error(f"ids is {ids.shape}: expected (B, T)")
        out = self._ref.empty(*ids.shape, self.info.hidden_size)
        self._run(taps, inputs, "model_encode_text", out, ids, *ids.shape)
        return out

    def unet(self, sample, timestep, context, taps=None, inputs=False):
        """sample (B, latent_channels, H, W), timestep, context (B, S, context_width) -> as sample;
        taps, inputs: see encode_text"""
        ref, info = self._ref, self.info
        sample = ref.reals(sample, "sample", shape=(None, info.latent_channels, None, None))
        B, _, H, W = sample.shape
        context = ref.reals(context, "context", shape=(B, None, info.context_width))
        out = np.empty_like(sample)
        self._run(taps, inputs, "model_unet", out, sample, float(timestep), context, B, H, W,
                  context.shape[1])
        return out

    def decode(self, latents, taps=None, inputs=False):
        """latents (B, latent_channels, H, W), already divided by scaling_factor -> image
        (B, image_channels, H*pixels_per_latent, W*pixels_per_latent), about -1..1; taps, inputs: see
        encode_text"""
        ref, info = self._ref, self.info
        latents = ref.reals(latents, "latents", shape=(None, info.latent_channels, None, None))
        B, _, H, W = latents.shape
        side = info.pixels_per_latent
        out = ref.empty(B, info.image_channels, H * side, W * side)
        self._run(taps, inputs, "model_decode", out, latents, B, H, W)
        return out

    def _run(self, taps, inputs, name, *arguments):
        if taps is None:
            self._ref.call(name, self._handle, *arguments)
            return
        raised = []
        tap = TAP(lambda who, *shown: self._show(taps, raised, *shown))
        self._ref.call("model_watch", self._handle, ctypes.cast(tap, ctypes.c_void_p), None, inputs)
        try:
            self._ref.call(name, self._handle, *arguments)
        finally:
            self._ref.call("model_watch", self._handle, None, None, False)
        if raised:
            raise raised[0]

    def _show(self, taps, raised, name, ndim, dims, at):
        """One tap. An exception must not run through C: it waits until the run is over."""
        if raised:
            return 0
        try:
            shape = tuple(dims[i] for i in range(ndim))
            ctype = ctypes.c_double if self._ref.precision == "f64" else ctypes.c_float
            size = int(np.prod(shape, dtype=np.int64))
            shown = np.ctypeslib.as_array((ctype * size).from_address(at)).reshape(shape)
            if callable(taps):
                other = taps(name.decode(), shown.copy())
                if other is None:
                    return 0
                shown[...] = self._ref.reals(other, name.decode(), shape=shape)
                return 1
            taps[name.decode()] = shown.copy()
        except BaseException as reason:
            raised.append(reason)
        return 0
