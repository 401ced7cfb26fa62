"""Watching modules of PyTorch: every module's output becomes a tap under its path.

No code of the model changes; the hooks go when the context ends.
"""

import contextlib
import fnmatch

import torch

SKIP = ("*.nonlinearity",)  # of diffusers' ResNets: called twice in one pass
IDLE = (torch.nn.Dropout, torch.nn.Identity)  # nothing happens there in a run


def first_tensor(value):
    """The tensor that a module gave or was given: itself, or the first inside a tuple or output."""
    while not isinstance(value, torch.Tensor):
        if isinstance(value, dict):
            value = tuple(value.values())
        if hasattr(value, "to_tuple"):
            value = value.to_tuple()
        if not isinstance(value, (tuple, list)) or not value:
            return None
        value = value[0]
    return value


def wanted(name, only, skip):
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in skip):
        return False
    return only is None or any(fnmatch.fnmatchcase(name, pattern) for pattern in only)


def names(module, component):
    """(name, module) of all modules. transformers 5 has taken the level `text_model` out of
    CLIPTextModel; the documented names keep it."""
    inner = component
    if type(module).__name__ == "CLIPTextModel" and not hasattr(module, "text_model"):
        inner = f"{component}.text_model"
    for path, child in module.named_modules():
        yield (f"{inner}.{path}" if path else component), child


@contextlib.contextmanager
def watch(module, component, trace, inputs=False, only=None, skip=SKIP):
    """Tap `module` and every module in it. component: "unet", "text_encoder", "vae" ...

    inputs: the inputs of modules without children too, as NAME.in. only, skip: patterns on names.
    A module that is called twice without a step between is an error, since its name stands for one
    tensor: give it to `skip`. Modules whose output is no tensor are passed over.
    """
    handles = []

    def add(name, child):
        def before(_, args, kwargs):
            tensor = first_tensor(args if args else kwargs)
            if tensor is not None:
                trace.tap(name + ".in", tensor)

        def after(_, args, output):
            tensor = first_tensor(output)
            if tensor is not None:
                trace.tap(name, tensor)

        if inputs and next(child.children(), None) is None:
            handles.append(child.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(child.register_forward_hook(after))

    try:
        for name, child in names(module, component):
            if wanted(name, only, skip) and not isinstance(child, IDLE):
                add(name, child)
        yield trace
    finally:
        for handle in handles:
            handle.remove()


class Joined:
    """Collects the taps of several passes. diffusers encodes the prompt and then the negative
    prompt; in a trace they are one batch, the negative first, as the UNet sees them."""

    def __init__(self):
        self.parts = {}

    def tap(self, name, tensor):
        self.parts.setdefault(name, []).append(tensor.detach().cpu().clone())

    def flush(self, trace):
        for name, parts in self.parts.items():
            trace.tap(name, torch.cat(parts[::-1]))
        self.parts = {}


class Steps:
    """The taps of a pipeline that belong to no module."""

    def __init__(self, pipe, trace, keeps):
        self.pipe, self.trace, self.keeps = pipe, trace, keeps
        self.count, self.latents, self.text = 0, None, Joined()

    def tap(self, name, tensor):
        if tensor is not None and self.keeps(name):
            self.trace.tap(name, tensor)

    def before_unet(self, _, args, kwargs):
        """The first pass is preceded by what the run starts from; each pass begins a step."""
        self.trace.prefix = ""
        if self.count == 0:
            self.text.flush(self.trace)
            states = kwargs.get("encoder_hidden_states", args[2] if len(args) > 2 else None)
            self.tap("prompt_embeds", states)
            self.tap("latents", self.latents)
        self.trace.prefix = f"step.{self.count:03d}/"
        self.count += 1

    def after_unet(self, _, args, output):
        self.tap("noise_pred", first_tensor(output))

    def prepare_latents(self, *args, **kwargs):
        self.latents = type(self.pipe).prepare_latents(self.pipe, *args, **kwargs)
        return self.latents

    def scheduler_step(self, model_output, timestep, sample, *args, **kwargs):
        scheduler = self.pipe.scheduler
        self.tap("guided", model_output)
        output = type(scheduler).step(scheduler, model_output, timestep, sample, *args, **kwargs)
        self.tap("latents", first_tensor(output))
        self.trace.prefix = ""
        return output


@contextlib.contextmanager
def watch_pipeline(pipe, trace, inputs=False, only=None, skip=SKIP):
    """Tap one call of a StableDiffusionPipeline: its text encoder, UNet and VAE, and every step.

    only: patterns on names as they stand after "step.000/". The clamped picture is the caller's to
    tap: trace.tap("image", pipe(..., output_type="pt").images).
    """
    steps = Steps(pipe, trace, lambda name: wanted(name, only, skip))
    with contextlib.ExitStack() as stack:
        hook = pipe.unet.register_forward_pre_hook(
            steps.before_unet, with_kwargs=True, prepend=True
        )
        stack.callback(hook.remove)
        for component in ("text_encoder", "unet", "vae"):
            module, sink = getattr(pipe, component), (
                steps.text if component == "text_encoder" else trace
            )
            stack.enter_context(watch(module, component, sink, inputs, only, skip))
        hook = pipe.unet.register_forward_hook(steps.after_unet)
        stack.callback(hook.remove)
        for owner, name, method in (
            (pipe, "prepare_latents", steps.prepare_latents),
            (pipe.scheduler, "step", steps.scheduler_step),
        ):
            setattr(owner, name, method)  # hides the class's method until it is deleted
            stack.callback(delattr, owner, name)
        stack.callback(setattr, trace, "prefix", "")
        yield trace
