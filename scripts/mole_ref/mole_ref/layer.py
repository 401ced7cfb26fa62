"""The MoLE layer: a frozen Linear or 1x1 Conv2d, low-rank experts, and the gates that mix them."""

import ctypes

import numpy as np

from .functional import Functional
from .library import Error, pointer


class LayerExpert(ctypes.Structure):
    _fields_ = [("rank", ctypes.c_size_t), ("alpha", ctypes.c_double), ("down", ctypes.c_void_p),
                ("up", ctypes.c_void_p), ("scale_weight", ctypes.c_void_p),
                ("scale_bias", ctypes.c_double), ("tap_expert", ctypes.c_void_p),
                ("tap_local", ctypes.c_void_p), ("tap_global", ctypes.c_void_p),
                ("tap_out", ctypes.c_void_p)]


class LayerArgs(ctypes.Structure):
    _fields_ = [("d_in", ctypes.c_size_t), ("d_out", ctypes.c_size_t), ("weight", ctypes.c_void_p),
                ("bias", ctypes.c_void_p), ("local_weight", ctypes.c_void_p),
                ("local_bias", ctypes.c_void_p), ("expert", ctypes.POINTER(LayerExpert)),
                ("experts", ctypes.c_size_t), ("image", ctypes.c_int), ("tap_base", ctypes.c_void_p)]


class Layer(Functional):
    """mole_layer, beside the operations."""

    def mole_layer(self, x, weight, bias, experts, phi_weight=None, phi_bias=None, taps=None,
                   how=None):
        """y = W x + b + sum_i D_i G_i E_i, computed as the paper defines it

        x           (B, T, d), or (B, d, H, W) for a 1x1 convolution
        weight      (d', d), or (d', d, 1, 1);  bias (d') or None
        experts     {"face": {"alpha": a, "lora_down": (R, d), "lora_up": (d', R),
                    "scale_weight": (d'), "scale_bias": number}, ...}, in the order of Phi's rows;
                    factors may end in (1, 1); alpha 0 or missing stands for R
        phi_weight  (E, d), phi_bias (E); None, both: no gates (plain LoRA)
        taps        a dict that receives "mole.base" and per expert "mole.<name>.expert", ".local",
                    ".global", ".out"
        -> (B, T, d') or (B, d', H, W)
        """
        x = self.reals(x, "x")
        if x.ndim not in (3, 4):
            raise Error(f"mole_layer: x is {x.shape}: expected (B, T, d) or (B, d, H, W)")
        image = x.ndim == 4
        d_in = x.shape[1] if image else x.shape[2]
        weight = self._matrix(weight, "weight", None, d_in)
        d_out = weight.shape[0]
        B, T = x.shape[0], (x.shape[2] * x.shape[3] if image else x.shape[1])
        shape = (B, d_out, *x.shape[2:]) if image else (B, T, d_out)
        gated = phi_weight is not None
        if gated != (phi_bias is not None):
            raise Error("mole_layer: phi_weight and phi_bias come together")
        kept = [x, weight]  # what pointers point to

        def keep(array):
            kept.append(array)
            return pointer(array)

        def tap(name, tap_shape):
            if taps is None:
                return None
            taps[name] = self.empty(*tap_shape)
            return pointer(taps[name])

        args = LayerArgs(d_in=d_in, d_out=d_out, weight=pointer(weight), experts=len(experts), image=image)
        if bias is not None:
            args.bias = keep(self.reals(bias, "bias", shape=(d_out,)))
        if gated:
            args.local_weight = keep(self.reals(phi_weight, "phi_weight", shape=(len(experts), d_in)))
            args.local_bias = keep(self.reals(phi_bias, "phi_bias", shape=(len(experts),)))
        args.tap_base = tap("mole.base", shape)
        rows = (LayerExpert * max(len(experts), 1))()
        for row, (name, expert) in zip(rows, experts.items()):
            down = self._matrix(expert["lora_down"], f"{name}: lora_down", None, d_in)
            row.rank = down.shape[0]
            row.alpha = expert.get("alpha", 0)
            row.down = keep(down)
            row.up = keep(self._matrix(expert["lora_up"], f"{name}: lora_up", d_out, row.rank))
            row.tap_expert = tap(f"mole.{name}.expert", shape)
            if gated:
                scale = self.reals(expert["scale_weight"], f"{name}: scale_weight")
                row.scale_weight = keep(self.reals(scale.reshape(-1), f"{name}: scale_weight", shape=(d_out,)))
                row.scale_bias = float(np.asarray(expert["scale_bias"]).reshape(()))
                row.tap_local = tap(f"mole.{name}.local", (B, T))
                row.tap_global = tap(f"mole.{name}.global", (B,))
                row.tap_out = tap(f"mole.{name}.out", shape)
        args.expert = rows
        out = self.empty(*shape)
        self.call("layer", out, x, ctypes.byref(args), B, T, self._how(how))
        return out

    def _matrix(self, x, name, rows, columns):
        """A (rows, columns) matrix, also from a 1x1 kernel."""
        x = self.reals(x, name)
        if x.ndim == 4 and x.shape[2:] == (1, 1):
            x = x.reshape(x.shape[:2])
        return self.reals(x, name, shape=(rows, columns))
