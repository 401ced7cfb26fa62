import sys
import mole_trace, torch
from diffusers import UNet2DConditionModel
from mole_trace.hooks import watch
from safetensors.torch import load_file

inputs = load_file("golden/runs/unet-plain/tensors.safetensors")
unet = UNet2DConditionModel.from_pretrained("golden/models/sd15-tiny/unet", torch_dtype=torch.float32)

with mole_trace.Writer(sys.argv[1]) as trace, torch.no_grad():  # watch: every module's output, under its path
    with watch(unet, "unet", trace, inputs=True):  # inputs=True: and what goes into each as NAME.in
        unet(inputs["input/sample"], 501, inputs["input/context"])
