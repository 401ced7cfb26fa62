"""Are the tiny models like real ones? Prints the figures and fails when one leaves its range."""

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import nn

from golden import components, models, pipeline
from golden.seeds import normal
from golden.taps import Recorder


def rms(x):
    return x.square().mean().sqrt().item()


class Norms:
    """Per GroupNorm: the smallest group variance at its input, and what eps 1e-5 <-> 1e-6 does."""

    def __init__(self, model):
        self.rows, self.handles = {}, []
        for name, module in model.named_modules():
            if isinstance(module, nn.GroupNorm):
                hook = lambda m, args, out, n=name: self.see(n, m, args[0], out)
                self.handles.append(module.register_forward_hook(hook))

    def see(self, name, module, x, out):
        groups = x.reshape(x.shape[0], module.num_groups, -1)
        other = 1e-6 if module.eps == 1e-5 else 1e-5
        swapped = nn.functional.group_norm(x, module.num_groups, module.weight, module.bias, other)
        change = (swapped - out).abs().max() / out.abs().max()
        self.rows[name] = (module.eps, groups.var(-1, unbiased=False).min().item(), change.item())

    def close(self):
        for handle in self.handles:
            handle.remove()


class Logits:
    """rms of the attention logits, from the projections' taps."""

    def __init__(self, model, prefix, taps):
        self.rows = {}
        for name, module in model.named_modules():
            if isinstance(module, Attention):
                q, k = taps[f"{prefix}.{name}.to_q"], taps[f"{prefix}.{name}.to_k"]
                self.add(name, q, k, module.heads)

    def add(self, name, q, k, heads):
        split = [x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k)]
        logits = split[0] @ split[1].transpose(2, 3) / split[0].shape[-1] ** 0.5
        self.rows[name] = rms(logits - logits.mean(-1, keepdim=True))


def spread(label, values, low, high):
    """Print a row of quantiles; the 5 % and 95 % ones must lie within low..high."""
    v = torch.as_tensor(values, dtype=torch.float64).flatten()
    q = [torch.quantile(v, p).item() for p in (0, 0.05, 0.5, 0.95, 1)]
    ok = low <= q[1] and q[3] <= high
    print(f"  {label:42s}" + " ".join(f"{x:10.3g}" for x in q) + ("" if ok else "   OUT OF RANGE"))
    return ok


def record(model, prefix, call):
    with torch.no_grad(), Recorder(model, prefix) as recorder:
        norms = Norms(model)
        call(model)
        norms.close()
    return recorder.taps, norms.rows


def check_norms(label, rows):
    variance = [v for _, v, _ in rows.values()]
    change = [c for _, _, c in rows.values()]
    return spread(f"{label} smallest group variance", variance, 1e-6, 1.0) & spread(
        f"{label} effect of the other eps", change, 1e-7, 1.0
    )


# Containers, MoLE layers.
WRAPPED = {"sd15-tiny": (16, 192), "sd21-tiny": (16, 192), "sdxl-tiny": (11, 722), models.OTHER: (4, 98)}


def conditions(model):
    """What XL's UNet is given besides the context."""
    if not models.MODELS[model].unet.get("addition_embed_type"):
        return {}
    width = models.MODELS[model].texts["text_encoder_2"]["projection_dim"]
    numbers = torch.tensor(components.NUMBERS)
    return {"text_embeds": normal("unet-step/text_embeds", (2, width)).double(), "time_ids": numbers.double()}


def check_dependence(unet, sample, context, added):
    """What changes in the output when one condition does, relative to its size."""

    def change(label, low, context=context, **changed):
        more = {"added_cond_kwargs": {**added, **changed}} if added else {}
        y = unet(sample, 501, context, **more).sample
        return spread(f"unet change by {label}", [rms(y - whole) / rms(whole)], low, 2)

    with torch.no_grad():
        more = {"added_cond_kwargs": added} if added else {}
        whole = unet(sample, 501, context, **more).sample
        ok = change("another context", 0.01, context=context.flip(1) * 0.9)
        if added:
            ok &= change("another pooled vector", 0.01, text_embeds=added["text_embeds"].flip(1))
            for i in range(6):
                numbers = added["time_ids"].clone()
                numbers[:, i] += 512
                ok &= change(f"number {i}, 512 more", 0.003, time_ids=numbers)
            ok &= change("height and width exchanged", 0.003, time_ids=added["time_ids"][:, [1, 0, 2, 3, 4, 5]])
    return ok


def check_unet(out, model):
    unet = components.load_unet(out, True, model).double()
    sample = normal("unet-step/sample", (2, unet.config.in_channels, 8, 8)).double()
    context = normal("unet-step/context", (2, 77, models.MODELS[model].context)).double()
    added = conditions(model)
    call = lambda m: components.run_unet(m, sample, 501, context, torch.float64, added=added)
    taps, norms = record(unet, "unet", call)
    ok = check_norms("unet", norms)
    streams = [rms(v) for n, v in taps.items() if n.endswith(("resnets.0", "attentions.0"))]
    ok &= spread("unet rms of the stream", streams, 0.3, 4)
    ok &= spread("unet rms of the output", [rms(taps["unet"])], 0.3, 3)
    logits = [*Logits(unet, "unet", taps).rows.values()]
    ok &= spread("unet rms of attention logits", logits, 0.2, 3)
    for name in ("face", "hand"):
        own = [v for n, v in taps.items() if n.endswith(f"{name}.local")]
        local = torch.cat([v.flatten() for v in own])
        within = [v.std(1, unbiased=False).mean() for v in own]
        overall = [v for n, v in taps.items() if n.endswith(f"{name}.global")]
        ok &= spread(f"{name} local gate D", local, 0.03, 0.97)
        ok &= spread(f"{name} its deviation over the tokens", within, 0, 0.4)
        ok &= spread(f"{name} global gate G", torch.cat(overall), 0.05, 0.95)
        ok &= spread(f"{name} |G[0] - G[1]|", [(g[0] - g[1]).abs() for g in overall], 0, 0.9)
        share = [
            rms(v) / rms(taps[n.replace(f"{name}.out", "base")])
            for n, v in taps.items()
            if n.endswith(f"mole.{name}.out")
        ]
        ok &= spread(f"{name} out / base", share, 0.03, 1.0)
    count = sum(isinstance(m, Transformer2DModel) for m in unet.modules())
    wrapped = sum(n.endswith("mole.base") for n in taps)
    print(f"  {count} transformer containers, {wrapped} MoLE layers")
    return ok & check_dependence(unet, sample, context, added) and (count, wrapped) == WRAPPED[model]


def check_vae(out, model):
    vae = models.load(out, "vae", model).double()
    vae.encoder = vae.quant_conv = None
    shape = (1, vae.config.latent_channels, 8, 8)
    latents = normal("vae-decode/latents", shape, 1 / vae.config.scaling_factor).double()
    taps, norms = record(vae, "vae", lambda m: m.decode(latents))
    ok = check_norms("vae", norms)
    streams = [rms(v) for n, v in taps.items() if n.endswith(("resnets.0", "conv_in"))]
    ok &= spread("vae rms of the stream", streams, 0.2, 4)
    ok &= spread("vae rms of attention logits", [*Logits(vae, "vae", taps).rows.values()], 0.2, 3)
    return ok & spread("vae output", taps["vae.decoder"], -1.3, 1.3)


def check_text(out, model, part):
    tokenizer = models.load(out, part.replace("text_encoder", "tokenizer"), model)
    text = models.load(out, part, model).double()
    inner = getattr(text, "text_model", text)
    ids = tokenizer([components.LONG], padding="max_length", return_tensors="pt").input_ids
    taps, _ = record(inner, "text", lambda m: m(ids))
    logits = Logits(nn.Module(), "", {})
    for i in range(text.config.num_hidden_layers):
        name = f"text.encoder.layers.{i}.self_attn"
        q, k = taps[f"{name}.q_proj"], taps[f"{name}.k_proj"]
        logits.add(name, q, k, text.config.num_attention_heads)
    streams = [rms(v) for n, v in taps.items() if n.count(".") == 3]
    ok = spread(f"{part} rms of the stream", streams, 0.3, 4)
    ok &= spread(f"{part} rms of the output", [rms(taps["text.final_layer_norm"])], 0.5, 2)
    if part == "text_encoder_2":
        ok &= spread(f"{part} rms of the pooled vector", [rms(text(ids).text_embeds)], 0.3, 3)
    return ok & spread(f"{part} rms of logits", [*logits.rows.values()], 0.2, 3)


def check_last_layer(out):
    """XL's pictures do not depend on the last layer of the first text encoder: files in circulation have
    rubbish there."""
    parts = pipeline.load_parts(out, components.XL, False)
    settings = {**pipeline.BASE, **pipeline.XL_BASE, "target_size": [64, 64]}

    def taps():
        with torch.no_grad():
            found = pipeline.Taps()
            pipeline.encode_xl(parts, settings, found)
        return found

    whole, first = taps(), parts["text_encoder"]
    for parameter in [*first.encoder.layers[-1].parameters(), *first.final_layer_norm.parameters()]:
        parameter.data.fill_(torch.nan)
    same = all(torch.equal(whole[name], value) for name, value in taps().items())
    first.encoder.layers[-2].mlp.fc2.bias.data.fill_(torch.nan)
    seen = any(value.isnan().any() for value in taps().values())
    print(f"  XL without the first text encoder's last layer: {'the same' if same else 'OTHER CONDITIONS'}")
    return same and seen


def check(out):
    """All figures; True when each is in its range."""
    columns = ("min", "5%", "50%", "95%", "max")
    ok = True
    for model in (name for name, made in models.MODELS.items() if not made.trained):
        print(f"  {model + ', quantiles':42s}" + " ".join(f"{x:>10s}" for x in columns))
        ok &= check_unet(out, model) & check_vae(out, model)
        for part in models.MODELS[model].texts:
            ok &= check_text(out, model, part)
    return ok & check_last_layer(out)
