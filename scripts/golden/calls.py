"""Cases of kind "calls": one operation on given inputs, in float64 and in float32."""

from pathlib import Path

import torch

from golden.formats import Case


class Calls:
    """One folder golden/ops/<op>, or in another room."""

    def __init__(self, out, op, about, room="ops"):
        self.op = op
        self.case = Case(Path(out) / room / op, "calls", about)
        self.calls = []

    def inputs(self, name, tensors):
        """Store the inputs of call `name`; a list becomes a list of keys, None stays None."""
        stored = {}
        for key, value in tensors.items():
            if isinstance(value, list):
                stored[key] = [
                    self.case.tensor(f"{name}/{key}.{i}", part) for i, part in enumerate(value)
                ]
            elif value is not None:
                stored[key] = self.case.tensor(f"{name}/{key}", value)
            else:
                stored[key] = None
        return stored

    def add(self, name, function, tensors, attrs=None, **fields):
        """One call: function(**tensors) gives the output, or a dict of outputs."""
        results = []
        for dtype in (torch.float64, torch.float32):

            def widen(value):
                if isinstance(value, list):
                    return [widen(part) for part in value]
                return value.to(dtype) if value is not None and value.is_floating_point() else value

            with torch.no_grad():
                result = function(**{key: widen(value) for key, value in tensors.items()})
            results.append(result if isinstance(result, dict) else {"out": result})
        self.record(name, tensors, attrs, *results, **fields)

    def record(self, name, tensors, attrs, out64, out32, **fields):
        """One call with results that are already there."""
        stored = self.inputs(name, tensors)
        outputs = [
            self.case.output(key, f"{name}/{key}", out64[key], out32[key]) for key in out64
        ]
        self.calls.append(
            {
                "id": name,
                "op": self.op,
                "attrs": attrs or {},
                "inputs": stored,
                **fields,
                "outputs": outputs,
            }
        )

    def write(self):
        self.case.write(calls=self.calls)
