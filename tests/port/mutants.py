"""The mutant gallery: bugs that ports of Stable Diffusion have had, each a switch in this port.

A mutant is a name. The line that it changes asks `if mutant("NAME")`, at the place where the
mistake is made in real ports. At most one is active at a time.

Of each mutant the table states where it is to be seen:

  case     the golden run that shows it
  culprit  the first tap of that case that comes out wrong
  inside   the first wrong tap of all, if the run records more of them than the case holds; else ""
  cause    what a comparator should call likely, one of CAUSES
  thread   where it happened, if that is known: owner/repository#number

check_mutants.py proves the first four. LATER were written after the hypotheses of ref/causes, and no hypothesis was
written or changed for them: they show what is said of a mistake that nobody has thought of.
"""

from dataclasses import asdict, dataclass

CAUSES = {
    "epsilon": "another epsilon in a normalisation",
    "activation": "another activation function, or none",
    "swapped-halves": "two halves of a tensor in the wrong order",
    "gain": "a constant factor",
    "offset": "a constant added",
    "missing-bias": "the bias was left out",
    "permuted-axes": "two axes exchanged",
    "nhwc": "channels-last memory taken for channels-first, or the reverse",
    "scale": "alpha / rank of an expert",
    "gate": "another function for a gate, or none",
    "pooling": "another mean before the global gate",
    "shift": "moved by one token, pixel or frequency",
    "order": "conditional and unconditional prediction exchanged or combined otherwise",
    "schedule": "timesteps, alphas or the type of prediction",
    "swapped-tensors": "two tensors exchanged",
    "padding": "other padding: of an image, or of a prompt",
    "mask": "the attention mask",
    "heads": "number, width or scale of the attention heads",
    "variance": "another formula for the variance",
    "layout": "elements grouped or laid out otherwise",
    "norm-missing": "a normalisation was left out",
    "affine": "weight or bias of a normalisation",
    "residual": "the residual taken elsewhere, left out or doubled",
    "skipped": "a module left out",
    "interpolation": "other pixels in an enlarged image",
    "noise": "other random numbers",
    "time": "the numbers that sinusoids are made of",
    "input": "another tensor goes into the layer",
    "prompt": "another text is encoded, or none",
    "norm-extra": "a normalisation too many",
    "groups": "another number of groups in a normalisation",
    "precision": "numbers of a smaller format",
    "skip": "the skip connections",
    "reversed": "an axis that runs backwards",
    "other": "none of these",
}


@dataclass(frozen=True)
class Mutant:
    name: str
    about: str
    cause: str
    case: str
    culprit: str
    inside: str = ""
    thread: str = ""


DOWN0 = "unet.down_blocks.0"
RESNET = f"{DOWN0}.resnets.0"
CONTAINER = f"{DOWN0}.attentions.0"
BLOCK = f"{CONTAINER}.transformer_blocks.0"
DOWN1_0 = "unet.down_blocks.1.attentions.0"
DOWN1 = f"{DOWN1_0}.transformer_blocks.0"
UP0, UP1 = "unet.up_blocks.0", "unet.up_blocks.1"
CLIP = "text_encoder.text_model"
CLIP0 = f"{CLIP}.encoder.layers.0"
VAE_MID = "vae.decoder.mid_block"
STEP0 = "step.000/"

M = Mutant
NORMS = (
    M("groupnorm-eps-resnet", "GroupNorm of the UNet's ResNets with eps 1e-6 instead of 1e-5",
      "epsilon", "unet-step", f"{RESNET}.norm1"),
    M("groupnorm-eps-transformer",
      "GroupNorm of the transformers with the library's default eps, 1e-5 instead of 1e-6",
      "epsilon", "unet-step", f"{CONTAINER}.norm", thread="ml-explore/mlx-examples#1435"),
    M("groupnorm-eps-vae", "GroupNorm of the VAE with eps 1e-5 instead of 1e-6", "epsilon",
      "vae-decode", f"{VAE_MID}.resnets.0.norm1"),
    M("layernorm-eps", "LayerNorm with eps 1e-6 instead of 1e-5", "epsilon", "text-encoder",
      f"{CLIP0}.layer_norm1", thread="mindspore-lab/mindone#219"),
    M("eps-outside-root", "(x - mean) / (std + eps)", "epsilon", "unet-step", f"{RESNET}.norm1",
      thread="codertimo/BERT-pytorch#30"),
    M("variance-unbiased", "the variance divided by n - 1 instead of n", "variance", "unet-step",
      f"{RESNET}.norm1", thread="codertimo/BERT-pytorch#30"),
    M("groupnorm-interleaved", "GroupNorm with channel c in group c mod G instead of c / (C/G)",
      "layout", "unet-step", f"{RESNET}.norm1"),
    M("residual-after-norm", "the transformer's residual taken after the LayerNorm", "residual",
      "unet-step", f"{BLOCK}.norm2"),
)  # fmt: skip

ACTIVATIONS = (
    M("geglu-tanh", "GELU by its tanh approximation in GEGLU", "activation", "unet-step",
      f"{BLOCK}.ff.net.0", thread="huggingface/candle#900"),
    M("geglu-quick", "quick-GELU in GEGLU", "activation", "unet-step", f"{BLOCK}.ff.net.0"),
    M("geglu-halves", "GEGLU with gate first and value second", "swapped-halves", "unet-step",
      f"{BLOCK}.ff.net.0"),
    M("clip-gelu", "GELU instead of quick-GELU in the text encoder", "activation", "text-encoder",
      f"{CLIP0}.mlp.activation_fn"),
    M("time-silu-missing", "no SiLU before the ResNet's time projection", "activation",
      "unet-step", f"{RESNET}.time_emb_proj"),
)  # fmt: skip

ATTENTION = (
    M("heads-for-width", "attention_head_dim read as the width of a head: it is their number",
      "heads", "unet-step", f"{BLOCK}.attn1.to_out.0.mole.base",
      thread="huggingface/diffusers#3797"),
    M("attention-scale-missing", "no 1 / sqrt(head width) before the softmax", "heads",
      "unet-step", f"{BLOCK}.attn1.to_out.0.mole.base"),
    M("attention-scale-of-all-heads", "1 / sqrt(all channels) instead of 1 / sqrt(head width)",
      "heads", "unet-step", f"{BLOCK}.attn1.to_out.0.mole.base"),
    M("heads-not-merged", "the heads' outputs taken as they lie in memory, (heads, T, d)",
      "permuted-axes", "unet-step", f"{BLOCK}.attn1.to_out.0.mole.base"),
    M("kv-weights-swapped", "the weights of to_k and to_v exchanged while loading",
      "swapped-tensors", "unet-step", f"{BLOCK}.attn1.to_k.mole.base"),
    M("kv-swapped", "keys and values exchanged where attention is called", "swapped-tensors",
      "unet-step", f"{BLOCK}.attn1.to_out.0.mole.base"),
    M("attention-out-bias", "no bias in the output projection", "missing-bias", "unet-step",
      f"{BLOCK}.attn1.to_out.0.mole.base"),
    M("causal-mask-missing", "the text encoder's attention without its causal mask", "mask",
      "text-encoder", f"{CLIP0}.self_attn.out_proj"),
    M("vae-heads", "8 channels per head in the VAE's attention, which has one head", "heads",
      "vae-decode", f"{VAE_MID}.attentions.0.to_out.0"),
    M("vae-attention-bypassed",
      "the VAE's attention projects its normalised input: x + to_out(norm(x))", "skipped",
      "vae-decode", f"{VAE_MID}.attentions.0.to_out.0"),
)  # fmt: skip

LAYOUT = (
    M("linear-not-transposed", "x W instead of x W^T where W is square", "permuted-axes",
      "text-encoder", f"{CLIP0}.self_attn.q_proj"),
    M("conv-kernel-transposed", "height and width of the kernels exchanged", "permuted-axes",
      "unet-step", "unet.conv_in"),
    M("conv-kernel-ohwi", "kernels stored (O, H, W, C) read as (O, C, H, W)", "nhwc", "unet-step",
      "unet.conv_in"),
    M("nhwc-flatten", "pixels to tokens by reshaping an NCHW image to (B, HW, C) as it lies",
      "nhwc", "unet-step", f"{BLOCK}.norm1"),
    M("skip-concatenated-first", "[skip, hidden] instead of [hidden, skip]", "swapped-halves",
      "unet-step", f"{UP0}.resnets.0.norm1"),
    M("skip-wrong-end", "a block's skips used first to last", "swapped-tensors", "unet-step",
      f"{UP0}.resnets.0.norm1"),
    M("downsample-asymmetric",
      "the UNet's downsampling padded right and below only, as the VAE's encoder is", "padding",
      "unet-step-plain", DOWN0, f"{DOWN0}.downsamplers.0.conv",
      "MegEngine/MegDiffusion#7 (the reverse)"),
    M("upsample-bilinear", "bilinear instead of nearest upsampling", "interpolation", "vae-decode",
      "vae.decoder.up_blocks.0.upsamplers.0.conv"),
    M("upsample-half-pixel",
      "nearest by the centres of pixels: other ones where the size is not doubled", "shift",
      "unet-step", f"{UP1}.upsamplers.0.conv"),
)  # fmt: skip

TIME = (
    M("timestep-sin-first", "the timestep's sines before its cosines", "swapped-halves",
      "unet-step", "unet.time_proj", thread="flashinfer-ai/flashinfer#3819"),
    M("timestep-frequency-shift", "frequencies 10000^(-k / (half - 1))", "shift", "unet-step",
      "unet.time_proj", thread="kohya-ss/sd-scripts#1187"),
)  # fmt: skip

TEXT = (
    M("padding-id", "prompts padded with 0 instead of the end token", "padding", "run-5-mole",
      "prompt_embeds", f"{CLIP}.embeddings", "huggingface/diffusers#2201"),
    M("positions-shifted", "position embeddings moved by one token", "shift", "text-encoder",
      f"{CLIP}.embeddings"),
    M("clip-skip", "the text encoder's last layer left out", "input", "text-encoder",
      f"{CLIP}.final_layer_norm", thread="huggingface/diffusers#1863"),
    M("final-layer-norm-missing", "the text encoder without its final LayerNorm", "norm-missing",
      "text-encoder", f"{CLIP}.final_layer_norm"),
)  # fmt: skip

LAYER = f"{CONTAINER}.proj_in.mole"
MOLE = (
    M("alpha-ignored", "experts with scale 1 instead of alpha / rank", "scale", "unet-step",
      f"{LAYER}.face.expert", thread="hao-ai-lab/FastVideo#870"),
    M("alpha-not-divided", "experts with scale alpha instead of alpha / rank", "scale",
      "unet-step", f"{LAYER}.face.expert", thread="Blaizzy/mlx-vlm#845"),
    M("alpha-rank-swapped", "experts with scale rank / alpha", "scale", "unet-step",
      f"{LAYER}.face.expert"),
    M("rank-of-first-layer", "the first layer's rank for all layers", "scale", "unet-step",
      f"{BLOCK}.attn1.to_q.mole.face.expert", thread="huggingface/diffusers#14409"),
    M("experts-swapped", "face and hand experts exchanged", "swapped-tensors", "unet-step",
      f"{LAYER}.face.expert"),
    M("gate-softmax", "local gates by softmax over the experts instead of sigmoids", "gate",
      "unet-step", f"{LAYER}.face.local"),
    M("phi-rows-swapped", "the rows of Phi exchanged: face looks at hand's gate",
      "swapped-tensors", "unet-step", f"{LAYER}.face.local"),
    M("global-heads-swapped", "face_scale and hand_scale exchanged", "swapped-tensors",
      "unet-step", f"{LAYER}.face.global"),
    M("pooled-before-scaling", "the global gate sees B A x without alpha / rank", "pooling",
      "unet-step", f"{LAYER}.face.global"),
    M("pooled-over-batch", "the global gate's mean taken over the batch too", "pooling",
      "unet-step", f"{LAYER}.face.global"),
    M("pooled-first-token", "the global gate sees the first token instead of the mean", "pooling",
      "unet-step", f"{LAYER}.face.global"),
    M("padding-not-pooled", "padding tokens left out of the global gate's mean", "pooling",
      "run-5-mole", f"{STEP0}noise_pred", f"{STEP0}{BLOCK}.attn2.to_k.mole.face.global"),
    M("local-gate-left-out", "experts weighted by the global gate alone", "gate", "unet-step",
      f"{LAYER}.face.out"),
    M("gates-left-out", "both experts added at full strength, as plain LoRAs", "gate", "unet-step",
      f"{LAYER}.face.out"),
)  # fmt: skip

SAMPLING = (
    M("randn-numpy", "noise from NumPy's generator instead of torch's", "noise",
      "run-5-mole-48x40", "latents", "latents", "apple/coreai-models#253"),
    M("randn-tail",
      "torch's rule for the last numbers of a noise whose size 16 does not divide ignored",
      "noise", "run-5-mole-48x40", "latents", "latents", "apple/ml-stable-diffusion#124"),
    M("randn-sine-first", "the sines of Box and Muller before the cosines", "layout", "run-5-mole",
      "latents", "latents"),
    M("steps-offset", "DDIM's timesteps without the offset of 1: 800 instead of 801", "schedule",
      "run-5-mole", f"{STEP0}noise_pred", f"{STEP0}unet.time_proj", "huggingface/diffusers#465"),
    M("timesteps-linspace", "timesteps from 999 on, spaced by linspace", "schedule", "run-5-mole",
      f"{STEP0}noise_pred", f"{STEP0}unet.time_proj", "huggingface/diffusers#2585"),
    M("final-alpha", "alphas_cumprod[0] instead of 1 at the last step", "schedule", "run-5-mole",
      "step.004/latents", "step.004/latents", "Stability-AI/stablediffusion#345"),
    M("beta-linear", "betas spaced evenly instead of by their roots", "schedule", "run-5-mole",
      f"{STEP0}latents", f"{STEP0}latents"),
    M("v-for-epsilon", "the prediction taken for a velocity where it is the noise", "schedule",
      "run-5-mole", f"{STEP0}latents", f"{STEP0}latents"),
    M("epsilon-for-v", "the prediction taken for the noise where it is a velocity", "schedule",
      "run-4-vpred", f"{STEP0}latents", f"{STEP0}latents", "leejet/stable-diffusion.cpp#325"),
    M("clip-sample", "the foreseen picture clipped to -1..1: latents go beyond", "schedule",
      "run-5-mole", f"{STEP0}latents", f"{STEP0}latents"),
    M("guidance-order", "conditional and unconditional predictions exchanged", "order",
      "run-5-mole", f"{STEP0}guided", f"{STEP0}guided"),
    M("guidance-batch-order", "conditional first in the batch, and so throughout", "order",
      "run-5-mole", "prompt_embeds", f"{CLIP}.embeddings"),
    M("guidance-formula", "c + s (c - u) instead of u + s (c - u)", "order", "run-5-mole",
      f"{STEP0}guided", f"{STEP0}guided"),
    M("vae-scale-of-sdxl", "latents divided by SDXL's factor, 0.13025", "gain", "run-5-mole",
      "vae.decoder", "vae.post_quant_conv", "huggingface/diffusers#6923"),
    M("vae-scale-missing", "latents not divided by the scaling factor", "gain", "run-5-mole",
      "vae.decoder", "vae.post_quant_conv"),
    M("image-not-shifted", "the decoder's output clamped to 0..1 without x / 2 + 1 / 2", "offset",
      "run-5-mole", "image", "image"),
)  # fmt: skip

CLIP_2 = "text_encoder_2.text_model"
V21 = (
    M("clip-quick-gelu", "quick-GELU instead of GELU in v2.1's text encoder", "activation",
      "sd21-text-encoder", f"{CLIP0}.mlp.activation_fn", thread="monatis/clip.cpp#10"),
    M("padding-id-end", "v2.1's prompts padded with the end token instead of 0", "padding",
      "sd21-run-3-mole", "prompt_embeds", f"{CLIP}.embeddings", "huggingface/diffusers#2201"),
    M("fused-qk-swapped", "a fused in_proj of OpenCLIP split into k, q, v", "swapped-tensors",
      "sd21-text-encoder", f"{CLIP0}.self_attn.q_proj", thread="huggingface/diffusers#6933"),
    M("heads-of-first-level", "the first level's number of heads at every level", "heads",
      "sd21-unet-mole", f"{DOWN1}.attn1.to_out.0.mole.base", thread="huggingface/diffusers#6980"),
)  # fmt: skip

XL = (
    M("width-before-height", "the six numbers as width, height", "swapped-halves", "sdxl-unet",
      "unet.add_time_proj", thread="mosaicml/diffusion#67"),
    M("target-before-original", "the target size before the original one", "swapped-halves",
      "sdxl-unet", "unet.add_time_proj", thread="mosaicml/diffusion#86"),
    M("numbers-in-bf16", "the six numbers rounded to bfloat16: 1023 becomes 1024", "time",
      "sdxl-unet", "unet.add_time_proj", thread="vladmandic/sdnext#1622"),
    M("numbers-before-pooled", "the embedded numbers before the pooled vector", "swapped-halves",
      "sdxl-unet", "unet.add_embedding.linear_1"),
    M("added-embedding-missing", "the added embedding computed and not added", "input", "sdxl-unet",
      f"{RESNET}.time_emb_proj", thread="ml-explore/mlx-examples#160"),
    M("depth-one", "one transformer block in each container, where XL has two or ten", "input",
      "sdxl-unet", f"{DOWN1_0}.proj_out.mole.base", thread="huggingface/diffusers#4322"),
    M("negative-first-only", "the negative prompt given to the first text encoder alone", "prompt",
      "sdxl-run-2-negative", "prompt_embeds", f"{CLIP_2}.embeddings", "invoke-ai/InvokeAI#8256"),
    M("penultimate-normalised", "the final LayerNorm on the states before the last layer",
      "norm-extra", "sdxl-run-2-mole", "prompt_embeds", "prompt_embeds", "damian0815/compel#56"),
    M("text-encoders-swapped", "the second text encoder's states before the first's",
      "swapped-halves", "sdxl-run-2-mole", "prompt_embeds", "prompt_embeds"),
    M("padding-id-2", "the second tokenizer's prompts padded as the first's", "padding",
      "sdxl-run-2-mole", "prompt_embeds", f"{CLIP_2}.embeddings", "huggingface/diffusers#4153"),
    M("negative-rule", "an absent negative prompt as the encoded empty text instead of zeros",
      "prompt", "sdxl-run-2-mole", "prompt_embeds", "prompt_embeds", "huggingface/diffusers#4160"),
    M("pooled-before-norm", "the pooled vector without the final LayerNorm", "norm-missing",
      "sdxl-text-encoder-2", "text_encoder_2.text_projection", thread="huggingface/diffusers#1721"),
    M("pooled-last-row", "the pooled vector of the last token instead of the end token", "shift",
      "sdxl-text-encoder-2", "text_encoder_2.text_projection",
      thread="huggingface/transformers#24650"),
    M("pooled-begin-row", "the pooled vector of the first token", "shift", "sdxl-text-encoder-2",
      "text_encoder_2.text_projection"),
    M("text-projection-transposed", "x P^T where the checkpoint stores P for x P", "permuted-axes",
      "sdxl-text-encoder-2", "text_encoder_2.text_projection",
      thread="Stability-AI/generative-models#111"),
)  # fmt: skip

SECOND = (
    M("padding-not-attended", "cross-attention does not look at the text's padding", "mask", "run-5-mole",
      f"{STEP0}noise_pred", f"{STEP0}{BLOCK}.attn2.to_out.0.mole.base"),
    M("time-gelu", "GELU instead of SiLU in the time embedding", "activation", "unet-step",
      "unet.time_embedding.act"),
    M("groups-halved", "GroupNorm of the UNet with half as many groups", "groups", "unet-step",
      f"{RESNET}.norm1"),
    M("time-after-norm", "a ResNet's time added behind its second norm", "time", "unet-step",
      f"{RESNET}.norm2"),
    M("shortcut-bias-missing", "no bias in the convolution of a ResNet's shortcut", "missing-bias", "unet-step",
      "unet.down_blocks.1.resnets.0.conv_shortcut"),
    M("resnet-relu", "ReLU instead of the first SiLU of a ResNet", "activation", "unet-step", f"{RESNET}.conv1"),
    M("transformer-residual-missing", "a transformer's output without the image that went in", "residual",
      "unet-step", CONTAINER),
    M("context-rows-exchanged", "each row of the batch attends to the other's text", "order", "unet-step",
      f"{BLOCK}.attn2.to_k.mole.base"),
    M("norm2-for-norm3", "the second LayerNorm's weights in the third", "swapped-tensors", "unet-step",
      f"{BLOCK}.norm3"),
    M("negative-ignored", "the empty text instead of the negative prompt", "prompt", "run-5-mole",
      "prompt_embeds", f"{CLIP}.embeddings"),
    M("image-bgr", "the picture's channels in the order blue, green, red", "reversed", "run-5-mole", "image",
      "image"),
    M("vae-attention-left-out", "the VAE without its attention", "skipped", "vae-decode",
      f"{VAE_MID}.attentions.0"),
    M("gate-bias-missing", "local gates without their bias", "missing-bias", "unet-step", f"{LAYER}.face.local"),
    M("pooled-maximum", "the global gate sees the largest number of the tokens, not their mean", "pooling",
      "unet-step", f"{LAYER}.face.global"),
    M("expert-in-bf16", "the experts' second factors rounded to bfloat16", "precision", "unet-step",
      f"{LAYER}.face.expert"),
    M("gates-averaged", "the mean of local and global gate instead of their product", "gate", "unet-step",
      f"{LAYER}.face.out"),
    M("sigma-squared", "1 - alpha instead of its root where DDIM foresees the picture", "schedule",
      "run-5-mole", f"{STEP0}latents", f"{STEP0}latents"),
    M("euler-input-unscaled", "Euler's latents given to the UNet without 1 / sqrt(sigma^2 + 1)", "gain",
      "sdxl-run-2-euler", f"{STEP0}noise_pred", f"{STEP0}unet.conv_in", "huggingface/candle#1635"),
    M("euler-start-unscaled", "Euler's first latents not multiplied by its largest sigma", "gain",
      "sdxl-run-2-euler", "latents", "latents", "mindspore-lab/mindone#458"),
    M("guidance-rescaled", "the guided prediction rescaled by 0.7 unasked", "gain", "run-5-mole",
      f"{STEP0}guided", f"{STEP0}guided"),
    M("begin-token-missing", "texts without the token that begins them", "prompt", "run-5-mole",
      "prompt_embeds", f"{CLIP}.embeddings"),
    M("pooled-not-projected", "the pooled vector not projected", "skipped", "sdxl-text-encoder-2",
      "text_encoder_2.text_projection"),
)  # fmt: skip

LATER = (
    M("geglu-both", "GELU on both halves of GEGLU", "activation", "unet-step", f"{BLOCK}.ff.net.0"),
    M("rms-norm", "LayerNorm without subtracting the mean", "variance", "text-encoder", f"{CLIP0}.layer_norm1"),
    M("timestep-in-bf16", "the timestep rounded to bfloat16", "schedule", "unet-step", "unet.time_proj"),
    M("attention-scaled-twice", "1 / head width instead of its root before the softmax", "heads", "unet-step",
      f"{BLOCK}.attn1.to_out.0.mole.base"),
    M("image-in-bytes", "the picture cut off to 256 levels", "precision", "run-5-mole", "image", "image"),
    M("positions-missing", "no position embeddings", "shift", "text-encoder", f"{CLIP}.embeddings"),
    M("clip-residual-after-norm", "the text encoder's residual taken after its first norm", "residual",
      "text-encoder", f"{CLIP0}.layer_norm2"),
    M("guidance-scale-of-others", "guidance with scale 5 instead of 7.5", "order", "run-5-mole",
      f"{STEP0}guided", f"{STEP0}guided"),
    M("expert-strength", "experts at 0.8 of their strength", "scale", "unet-step", f"{LAYER}.face.expert"),
    M("experts-averaged", "the mean of the experts added instead of their sum", "gain", "unet-step",
      f"{LAYER}.face.out"),
    M("gate-hard-sigmoid", "local gates by a hard sigmoid, x / 6 + 1 / 2 within 0..1", "gate", "unet-step",
      f"{LAYER}.face.local"),
    M("step-back-too-short", "DDIM's step goes back one timestep less", "schedule", "run-5-mole",
      f"{STEP0}latents", f"{STEP0}latents"),
    M("crop-in-the-middle", "a corner of the crop that nobody asked for", "time", "sdxl-unet",
      "unet.add_time_proj"),
    M("pooled-from-penultimate", "the pooled vector from the states before the last layer", "input",
      "sdxl-text-encoder-2", "text_encoder_2.text_model.final_layer_norm", thread="huggingface/diffusers#5057"),
    M("skip-left-out", "zeros in the place of the skips", "skip", "unet-step", f"{UP0}.resnets.0.norm1"),
    M("resnet-halved", "a ResNet's sum divided by the root of 2", "residual", "unet-step", RESNET),
    M("ranks-interleaved", "stacked experts whose columns lie rank by rank taken expert by expert", "layout",
      "unet-step", f"{LAYER}.face.expert", thread="unslothai/unsloth-zoo#1232"),
    M("fused-bias-interleaved", "a fused in_proj's bias read as (D, 3): q, k and v in turns", "offset",
      "sd21-text-encoder", f"{CLIP0}.self_attn.q_proj", thread="huggingface/diffusers#1559"),
    M("noise-channels-last", "noise drawn as (1, height, width, channels)", "nhwc", "run-5-mole", "latents",
      "latents"),
    M("causal-mask-late", "each token of a text sees the next one too", "mask", "text-encoder",
      f"{CLIP0}.self_attn.out_proj"),
    M("clip-bias-missing", "no biases of q, k and v in the text encoder: the UNet has none", "missing-bias",
      "text-encoder", f"{CLIP0}.self_attn.q_proj"),
    M("final-norm-twice", "the final LayerNorm on states that are normalised", "norm-extra", "text-encoder",
      f"{CLIP}.final_layer_norm"),
    M("first-layer-repeated", "the first layer's weights in all layers of the text encoder", "swapped-tensors",
      "sd21-text-encoder", f"{CLIP}.encoder.layers.1.layer_norm1"),
    M("text-padding-masked", "the text encoder does not look at padding", "mask", "run-5-mole", "prompt_embeds",
      f"{CLIP0}.self_attn.out_proj", "mosaicml/diffusion#13"),
    M("end-of-word-missing", "words without the mark of their end", "prompt", "run-5-mole", "prompt_embeds",
      f"{CLIP}.embeddings", "CrispStrobe/CrispEmbed#30"),
    M("words-by-space", "texts cut into words at white space alone", "prompt", "run-5-mole", "prompt_embeds",
      f"{CLIP}.embeddings"),
    M("pooled-normalised", "the pooled vector divided by its length, as for comparing texts with pictures",
      "norm-extra", "sdxl-run-2-mole", "add_text_embeds", "add_text_embeds"),
    M("negative-pooled-kept", "of an absent negative prompt the states are zeros, the pooled vector is not",
      "prompt", "sdxl-run-2-mole", "add_text_embeds", "add_text_embeds", "huggingface/diffusers#5203"),
    M("last-for-penultimate", "the last layer's states, normalised, of XL's first text encoder", "input",
      "sdxl-run-2-mole", "prompt_embeds", "prompt_embeds", "easydiffusion/sdkit#56"),
    M("numbers-all-target", "the target size in the place of the original one", "time", "sdxl-unet",
      "unet.add_time_proj", thread="huggingface/diffusers#6203"),
    M("numbers-transposed", "the six numbers' sinusoids side by side frequency by frequency", "permuted-axes",
      "sdxl-unet", "unet.add_embedding.linear_1"),
    M("timestep-normalised", "the timestep divided by 1000", "time", "unet-step", "unet.time_proj"),
    M("time-silu-twice", "SiLU of SiLU before the ResNet's time projection", "activation", "unet-step",
      f"{RESNET}.time_emb_proj"),
    M("kernels-flipped", "kernels turned by 180 degrees: convolution instead of correlation", "reversed",
      "unet-step", "unet.conv_in", thread="FluxML/NNlib.jl#208"),
    M("conv-circular", "convolutions padded with the opposite edge instead of zeros", "padding", "vae-decode",
      "vae.decoder.conv_in", thread="tjm35/asymmetric-tiling-sd-webui#4"),
    M("groupnorm-not-affine", "GroupNorm without weight and bias", "affine", "unet-step", f"{RESNET}.norm1"),
    M("heads-innermost", "channel c in head c mod H instead of c / (C/H)", "heads", "sd21-unet-mole",
      f"{BLOCK}.attn1.to_out.0.mole.base"),
    M("softmax-over-queries", "the attention's softmax over the queries instead of the keys", "permuted-axes",
      "unet-step", f"{BLOCK}.attn1.to_out.0.mole.base",
      thread="labmlai/annotated_deep_learning_paper_implementations#146"),
    M("residual-doubled", "the residual of the self-attention added twice", "residual", "sdxl-unet",
      f"{DOWN1}.norm2"),
    M("mid-attention-left-out", "the UNet's middle block without its transformer", "skipped", "sd21-unet-mole",
      "unet.mid_block.resnets.1.norm1"),
    M("face-left-out", "the expert that is loaded last replaces the one before", "skipped", "unet-step",
      f"{CONTAINER}.proj_in", thread="huggingface/diffusers#10392"),
    M("experts-not-on-projections", "experts of proj_in and proj_out not attached", "skipped", "sdxl-unet",
      f"{DOWN1_0}.proj_in", thread="huggingface/diffusers#4323"),
    M("gate-sigmoid-twice", "the sigmoid of a sigmoid as the local gate", "gate", "unet-step",
      f"{LAYER}.face.local"),
    M("gate-normalised-token", "local gates look at tokens divided by their length", "norm-extra", "unet-step",
      f"{LAYER}.face.local"),
    M("pooled-gated", "the global gate sees what the local gate has let through", "pooling", "unet-step",
      f"{LAYER}.face.global"),
    M("vae-block-short", "as many ResNets in a block of the VAE's decoder as its encoder has: one less",
      "skipped", "vae-decode", "vae.decoder.up_blocks.0.upsamplers.0.conv"),
    M("post-quant-missing", "latents decoded without post_quant_conv", "skipped", "vae-decode",
      "vae.decoder.conv_in"),
    M("latents-shifted", "0.0609, which Stable Diffusion 3 needs, added to the latents", "offset", "run-5-mole",
      "vae.decoder", "vae.post_quant_conv"),
    M("betas-of-ddpm", "betas from 0.0001 to 0.02, a library's default", "schedule", "run-5-mole",
      f"{STEP0}latents", f"{STEP0}latents"),
    M("timestep-index", "the UNet is given the step's number instead of its timestep", "schedule", "run-5-mole",
      f"{STEP0}noise_pred", f"{STEP0}unet.time_proj", "Stability-AI/stablediffusion#226"),
    M("eta-one", "DDIM with noise of its own, eta 1", "noise", "run-5-mole", f"{STEP0}latents",
      f"{STEP0}latents"),
    M("v-sign", "the velocity added where the picture is foreseen, not subtracted", "schedule",
      "sd21-run-3-mole", f"{STEP0}latents", f"{STEP0}latents"),
    M("direction-from-sample", "the prediction, which is the picture, taken for the noise of DDIM's direction",
      "schedule", "other-run-2-mole", f"{STEP0}latents", f"{STEP0}latents", "huggingface/diffusers#1486"),
    M("euler-start-of-sigma", "Euler's first latents times sigma instead of sqrt(sigma^2 + 1)", "gain",
      "sdxl-run-2-euler", "latents", "latents"),
    M("euler-step-of-scaled", "Euler's step from the latents as scaled for the UNet", "input",
      "sdxl-run-2-euler", f"{STEP0}latents", f"{STEP0}latents"),
    M("guidance-three-channels", "guidance on the first three channels alone", "order", "run-5-mole",
      f"{STEP0}guided", f"{STEP0}guided", "facebookresearch/DiT#41"),
)  # fmt: skip

LATER_NAMES = {m.name for m in LATER}
MUTANTS = (*NORMS, *ACTIVATIONS, *ATTENTION, *LAYOUT, *TIME, *TEXT, *MOLE, *SAMPLING, *V21, *XL, *SECOND, *LATER)
BY_NAME = {m.name: m for m in MUTANTS}

_active = None


def use(name):
    """Plant this bug from now on; None: none."""
    global _active
    if name is not None and name not in BY_NAME:
        raise ValueError(f"no mutant {name}")
    _active = name


def mutant(name):
    """Is this the bug that is planted? An unknown name is an error: no switch is misspelled."""
    if name not in BY_NAME:
        raise ValueError(f"no mutant {name}")
    return name == _active


def as_dict():
    return {
        "format": "mole-mutants",
        "version": 1,
        "causes": CAUSES,
        "mutants": [asdict(m) for m in MUTANTS],
    }
