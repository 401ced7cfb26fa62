"""Our MoLE layers against the authors' own code, from a copy of their repository.

Their files are run where they are (networks/lora.py and moe.py of sd-scripts-v1.5 and of sd-scripts-xl, and three
functions of gen_img_diffusers_moe.py); nothing of them is kept here. What they import and do not need for
this is replaced by stand-ins while they load. The figures go to docs/original.md.
"""

import ast
import contextlib
import io
import re
import subprocess
import sys
import tempfile
import types
import typing
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from golden import components, models, mole, prompts, stats
from golden.formats import made_with
from golden.seeds import normal
from golden.taps import Recorder

BOUND = 1e-14  # of each tensor's scale, for a layer on given inputs and for noise_pred
FREE_BOUND = 1e-13  # for a tap of a whole pass: rounding that earlier layers hand on
NARROW_BOUND = 1e-11  # the same in v2.1's and XL's tiny UNets, of at most 32 channels and up to ten blocks in a row
SHAPES = [("5 x 4", (2, 4, 5, 4)), ("8 x 8", (2, 4, 8, 8)), ("16 x 16", (1, 4, 16, 16))]
# Without convolutions among the layers any size will do. model -> its scripts
LINEAR, LINEAR_SHAPE = {"sd21-tiny": "sd-scripts-v1.5", "sdxl-tiny": "sd-scripts-xl"}, (2, 4, 5, 6)


def stand_in(name, **members):
    """A module for `import name`, unless there is a real one."""
    try:
        __import__(name)
    except ImportError:
        module = types.ModuleType(name)
        module.__dict__.update(members)
        sys.modules[name] = module


def load_networks(directory, scripts="sd-scripts-v1.5"):
    """Their networks/lora.py and networks/moe.py as modules."""

    def unused(*args, **kwargs):
        raise NotImplementedError("imported by the authors' file, not needed here")

    stand_in("einops", rearrange=unused, pack=unused, unpack=unused)
    # Saving asks for two hashes of the file, which go into its metadata.
    train_util = types.ModuleType("library.train_util")
    train_util.precalculate_safetensors_hashes = lambda tensors, metadata: ("", "")
    utils = types.ModuleType("library.utils")
    utils.setup_logging = lambda *args, **kwargs: None
    library = types.ModuleType("library")
    library.train_util, library.utils = train_util, utils
    sys.modules.update({"library": library, "library.train_util": train_util, "library.utils": utils})
    stand_in("timm")
    stand_in("timm.models")
    stand_in("timm.models.vision_transformer", Mlp=unused)
    for name in [name for name in sys.modules if name.partition(".")[0] == "networks"]:
        del sys.modules[name]
    sys.path.insert(0, str(directory / scripts))
    try:
        from networks import lora, moe
    finally:
        del sys.path[0]
    return lora, moe


def files_for(out, model, folder):
    """The three files with the names of diffusers, which their code gives to the layers of its UNet."""
    source = models.folder_of(out, f"{model}-mole")
    if models.MODELS[model].expert_names == "diffusers":
        return source
    names = {}
    for path, _ in mole.targets(models.load(out, "unet", model)):
        names[mole.key_of(path, "ldm")] = mole.key_of(path)
    for name, tensors in mole.load_files(source).items():
        renamed = {}
        for key, value in tensors.items():
            layer, _, rest = key.removeprefix("moe_").partition(".")
            renamed[key.replace(layer, names[layer], 1)] = value.float()
        save_file(renamed, folder / f"{name}.safetensors")
    return folder


def wrap(lora, moe, unet, text_encoder, folder, double_scale):
    """What their generation script does to a UNet; returns the network of gates."""
    networks = []
    for name in mole.EXPERTS:
        path = str(folder / f"{name}.safetensors")
        network, tensors = lora.create_network_from_weights(1.0, path, None, text_encoder, unet)
        network.apply_to(text_encoder, unet, apply_to=False)
        network.load_state_dict(tensors, False)
        networks.append(network.to(unet.dtype))
        for layer in network.unet_loras:
            if double_scale:
                layer.scale = float(layer.alpha) / layer.lora_dim
    gates = moe.create_moe(networks, num_experts=len(networks))
    gates.apply_to()
    info = gates.load_weights(str(folder / "gates.safetensors"))
    assert not info.missing_keys and not info.unexpected_keys, info
    return gates.to(unet.dtype)


def watch(gates, taps):
    """Their experts' outputs, local and global gates, under our taps' names."""
    by_key = {}
    for layer in gates.moelayer_list:
        by_key[layer.moe_name] = layer.softmoe

    def keep(name, value):
        taps[name] = value.detach().clone()

    for name, soft in by_key.items():
        key = name.removeprefix("moe_")

        def local(module, args, logits, key=key):
            for i, expert in enumerate(mole.EXPERTS):
                keep((key, f"{expert}.local"), torch.sigmoid(logits[:, :, i]))

        soft.Phi_1.register_forward_hook(local)
        for i, expert in enumerate(mole.EXPERTS):

            def overall(module, args, logit, key=key, expert=expert):
                keep((key, f"{expert}.global"), torch.sigmoid(logit).flatten())

            def output(module, args, y, key=key, expert=expert, scale=soft.scales[i]):
                keep((key, f"{expert}.expert"), y * scale)

            getattr(soft, f"{expert}_scale").register_forward_hook(overall)
            soft.experts[i].register_forward_hook(output)


def distance(a, b):
    """Largest difference, of b's scale."""
    assert a.shape == b.shape or a.numel() == b.numel(), (a.shape, b.shape)
    return ((a.reshape(b.shape) - b).abs().max() / b.abs().max()).item()


def both_networks(lora, moe, out, double_scale, model=models.SD15):
    """(our UNet, their UNet, what their gates and experts last computed), in float64."""
    ours = components.load_unet(out, True, model).double()
    theirs = models.load(out, "unet", model).double()
    texts = [models.load(out, part, model) for part in models.MODELS[model].texts]
    with tempfile.TemporaryDirectory() as work, contextlib.redirect_stdout(io.StringIO()):
        folder = files_for(out, model, Path(work))
        gates = wrap(lora, moe, theirs, texts if len(texts) > 1 else texts[0], folder, double_scale)
    inner = {}
    watch(gates, inner)
    return ours, theirs, inner


class Worst:
    """kind -> (number of tensors, worst distance, its name)."""

    def __init__(self):
        self.rows = {}

    def note(self, kind, name, a, b):
        d = distance(a, b)
        number, worst, where = self.rows.get(kind, (0, -1.0, ""))
        self.rows[kind] = (number + 1, max(worst, d), name if d > worst else where)

    def taps(self, found, layer, inner):
        """Our taps of one layer against the values inside theirs."""
        key = mole.key_of(layer)
        for part, value in found.items():
            kind = part.rpartition(".")[2]
            if kind in ("expert", "local", "global"):
                name = f"{layer}.mole.{part}"
                self.note(kind, name, value, inner[(key, part)])


def compare_layers(lora, moe, out, shape, double_scale=True, model=models.SD15):
    """Worst distances (of each layer alone, of a whole pass), in float64."""
    sample = normal("unet-step/sample", shape)
    context = normal("unet-step/context", (shape[0], 7, models.MODELS[model].context))
    added = stats.conditions(model)
    ours, theirs, inner = both_networks(lora, moe, out, double_scale, model)
    inputs = {}
    for path, module in ours.named_modules():
        if isinstance(module, mole.MoleLayer):
            module.register_forward_pre_hook(
                lambda m, args, path=path: inputs.__setitem__(path, args[0].clone())
            )
    alone, whole = Worst(), Worst()
    with torch.no_grad():
        with Recorder(ours, "unet") as a:
            components.run_unet(ours, sample, 981, context, torch.float64, added=added)
        with Recorder(theirs, "unet") as b:
            components.run_unet(theirs, sample, 981, context, torch.float64, added=added)
        found = {path: {} for path in inputs}
        for name, value in a.taps.items():
            layer, _, part = name.removeprefix("unet.").partition(".mole.")
            if part:
                found[layer][part] = value
            else:
                kind = "noise_pred" if name == "unet" else "module output"
                whole.note(kind, name, value, b.taps[name])
        for layer, taps in found.items():
            whole.taps(taps, layer, inner)
        for layer, x in inputs.items():  # each of their layers, on the input that ours had
            alone.note("layer", layer, a.taps[f"unet.{layer}"], theirs.get_submodule(layer)(x))
            alone.taps(found[layer], layer, inner)
    return alone.rows, whole.rows


def compare_saving(lora, moe, out):
    """Files written by their code after loading ours: names, shapes, values."""
    folder = Path(out) / "models" / "sd15-tiny-mole"
    results = []
    with tempfile.TemporaryDirectory() as work, contextlib.redirect_stdout(io.StringIO()):
        for name in (*mole.EXPERTS, "gates"):
            unet, text_encoder = models.load(out, "unet"), models.load(out, "text_encoder")
            target = Path(work) / f"{name}.safetensors"
            if name == "gates":
                wrap(lora, moe, unet, text_encoder, folder, False).save_weights(
                    str(target), None, None
                )
            else:  # as their training does: the layers applied, so that org_module is gone
                path = str(folder / f"{name}.safetensors")
                network, _ = lora.create_network_from_weights(1.0, path, None, text_encoder, unet)
                network.apply_to(text_encoder, unet)
                network.load_weights(path)
                network.save_weights(str(target), None, None)
            ours, theirs = load_file(folder / f"{name}.safetensors"), load_file(target)
            same = ours.keys() == theirs.keys() and all(
                torch.equal(ours[k], theirs[k]) and ours[k].dtype == theirs[k].dtype for k in ours
            )
            results.append((name, len(theirs), same))
    return results


def load_prompt_functions(directory):
    """Their prompt functions, taken from the script without running the rest of it."""
    path = directory / "sd-scripts-v1.5" / "gen_img_diffusers_moe.py"
    wanted = {
        "parse_prompt_attention",
        "get_prompts_with_weights",
        "pad_tokens_and_weights",
        "get_unweighted_text_embeddings",
        "get_weighted_text_embeddings",
    }
    body = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        pattern = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "re_attention"
        if pattern or (isinstance(node, ast.FunctionDef) and node.name in wanted):
            body.append(node)
    space = {"re": re, "torch": torch, "PipelineLike": object}
    space.update({k: getattr(typing, k) for k in ("List", "Optional", "Union")})
    exec(compile(ast.Module(body, []), str(path), "exec"), space)
    return types.SimpleNamespace(**{name: space[name] for name in wanted})


def compare_parser(functions):
    """Number of prompts, and those whose segments are not the same."""
    rows = prompts.parser_rows()
    wrong = []
    for row in rows:
        try:
            theirs = functions.parse_prompt_attention(row["text"])
        except ValueError:
            theirs = None
        if theirs != row["segments"]:
            wrong.append((row["text"], theirs, row["segments"]))
    return len(rows), wrong


def compare_chunks(functions, out):
    """Number of batches, and those whose ids or weights are not the same."""
    tokenizer = models.load(out, "tokenizer")
    rows, wrong = prompts.chunk_rows(tokenizer), []
    for row in rows:
        seen = []

        def encode(ids):
            seen.append(ids.clone())
            return (torch.ones(*ids.shape, 2, dtype=torch.float64),)

        words = types.SimpleNamespace(
            model_max_length=77,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=row["pad"],
        )

        class Words(types.SimpleNamespace):
            def __call__(self, text):
                return tokenizer(text)

        pipe = types.SimpleNamespace(
            tokenizer=Words(**vars(words)),
            text_encoder=encode,
            device="cpu",
            replace_token=lambda tokens, layer=None: tokens,
        )
        multiples = row["max_embeddings_multiples"]
        with contextlib.redirect_stdout(io.StringIO()):
            weighted, _, _ = functions.get_weighted_text_embeddings(
                pipe, row["prompts"], max_embeddings_multiples=multiples
            )
        for i, ours in enumerate(row["rows"]):
            ids = [chunk[i].tolist() for chunk in seen]
            # The encoder gave ones, so the result is the weights over their mean.
            weights = torch.tensor(ours["weights"], dtype=torch.float64).flatten()
            expected = weights / weights.mean()
            off = (weighted[i, :, 0] - expected).abs().max().item()
            if ids != ours["ids"] or off > 1e-6:  # they take the means in float32
                wrong.append((row["prompts"][i][:40], row["pad"], off))
    return len(rows), wrong


def commit_of(directory):
    """The commit of the copy, where git knows it."""
    command = ["git", "-C", str(directory), "rev-parse", "HEAD"]
    result = subprocess.run(command, capture_output=True, text=True)
    return result.stdout.strip() if result.returncode == 0 else "unknown"


def compare(out, directory, commit=None):
    """Everything; writes docs/original.md beside the golden folder. True: all agree."""
    lora, moe = load_networks(directory)
    ok, lines = True, {"alone": [], "whole": [], "linear": [], "linear whole": []}

    def note(label, parts, compared):
        nonlocal ok
        for part, rows in zip(parts, compared):
            for kind, (number, worst, where) in rows.items():
                free = NARROW_BOUND if "linear" in part else BOUND if kind == "noise_pred" else FREE_BOUND
                ok &= worst <= (free if "whole" in part else BOUND)
                lines[part].append(f"| {label} | {kind} | {number} | {worst:.1e} | `{where}` |")

    for label, shape in SHAPES:
        note(label, ("alone", "whole"), compare_layers(lora, moe, out, shape))
    alone, _ = compare_layers(lora, moe, out, SHAPES[0][1], False)
    single = max(worst for _, worst, _ in alone.values())
    files = compare_saving(lora, moe, out)
    for model, scripts in LINEAR.items():
        networks = load_networks(directory, scripts)
        note(model, ("linear", "linear whole"), compare_layers(*networks, out, LINEAR_SHAPE, model=model))
    functions = load_prompt_functions(directory)
    parser, chunked = compare_parser(functions), compare_chunks(functions, out)
    ok &= all(same for _, _, same in files) and not parser[1] and not chunked[1]
    for row in (*parser[1], *chunked[1]):
        print("golden: differs:", *row)
    text = report(commit or commit_of(directory), lines, single, files, parser, chunked)
    (Path(out).resolve().parent / "docs" / "original.md").write_text(text, encoding="utf-8")
    print(text)
    return bool(ok)


def report(commit, lines, single, files, parser, chunked):
    """docs/original.md."""
    from golden.original_report import TEXT

    saved = "\n".join(
        f"| {name} | {count} | {'equal' if same else 'DIFFERS'} |" for name, count, same in files
    )
    return TEXT.format(
        commit=commit,
        versions=", ".join(f"{k} {v}" for k, v in made_with().items()),
        alone="\n".join(lines["alone"]),
        whole="\n".join(lines["whole"]),
        linear="\n".join(lines["linear"]),
        linear_whole="\n".join(lines["linear whole"]),
        single=f"{single:.1e}",
        saved=saved,
        parser=f"{parser[0]} prompts, {len(parser[1])} differ",
        chunks=f"{chunked[0]} batches, {len(chunked[1])} differ",
    )
