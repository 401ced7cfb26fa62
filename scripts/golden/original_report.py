"""The words of docs/original.md; original.py puts the figures in."""

TEXT = """# Held against the authors' code

The golden data come from a small torch module of ours (`scripts/golden/mole.py`), written from the
equations. This page says how far it is from the code that the authors of MoLE published:
github.com/JiePKU/MoLE, folders `sd-scripts-v1.5` and `sd-scripts-xl`, commit {commit}.
It is written by

    python scripts/golden/make.py --out golden --original DIR

with a copy of their repository in DIR; nothing of theirs is in this one.
Versions: {versions}.

## The layers

The tiny UNet, wrapped once by our module and once by their `networks/lora.py` and
`networks/moe.py`, which read our three weight files; one pass in float64 at timestep 981. The
number is the largest difference over all tensors of a kind, divided by the tensor's largest
absolute value. (`expert`, `local`, `global`: inside the 192 layers, for both experts.)

Each of the 192 layers on the same input (bound 1e-14):

| latent | what | tensors | worst | where |
|---|---|---|---|---|
{alone}

A whole pass, in which rounding travels from layer to layer (bound 1e-14 for `noise_pred`, 1e-13 for
what lies on the way; `module output` is every tapped module of the UNet):

| latent | what | tensors | worst | where |
|---|---|---|---|---|
{whole}

The tiny UNets of v2.1, by the same code of theirs, and of XL, by `networks/lora.py` and `networks/moe.py` of
`sd-scripts-xl`: all layers are linear. Latents of 5 x 6. XL's files got the names that their code gives to a UNet of
diffusers. Each layer on the same input (bound 1e-14):

| model | what | tensors | worst | where |
|---|---|---|---|---|
{linear}

A whole pass (bound 1e-11: these UNets are narrow, and XL's has ten blocks in a row; rounding grows on the way):

| model | what | tensors | worst | where |
|---|---|---|---|---|
{linear_whole}

## The files

Our files read by their loading code and written by their saving code: same keys, shapes, types and
values, bit for bit.

| file | tensors | |
|---|---|---|
{saved}

## The prompt functions

`parse_prompt_attention`, and `get_weighted_text_embeddings` with a text encoder that records the
ids and returns ones, taken out of `gen_img_diffusers_moe.py`:

* weights in brackets: {parser};
* chunks of 75 tokens, padded with EOS and with 0: {chunks}.

## What had to be arranged, and what was not run

* `einops` and `timm` (imported, not used) are stood in for when absent; so are `library.utils`, which sets up
  logging, and `library.train_util`, of which saving uses one function for two hashes in the metadata.
* alpha / rank: their code divides a float32 NumPy scalar by an int. Under NumPy 1 the quotient is
  float64 (seen with 1.26.4), and so it is here; under NumPy 2 it is float32, which alone moves the
  layers by {single} of their scale. We set the float64 quotient on their layers before comparing.
* Timestep angles are float64 in both passes (the replacement that all our float64 data use).
* Latents whose number of pixels is not a multiple of the whole part of its square root, at any
  level, raise an error in their convolution branch; ours accepts any size. Only sizes that theirs
  accepts are compared.
* Their generation script as a whole was not run: it needs CUDA and an older diffusers. Nor was
  training. Of the XL code the layers, experts and gates were run, on a UNet of diffusers in place of their own
  class, whose widths are fixed.
"""
