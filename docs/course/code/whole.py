"""Chapter 0: a picture from a prompt, with the reference as a library."""

import numpy as np


def picture(ref, folder, prompt, seed, steps, scale, side):
    model, ddim = ref.model(folder), ref.ddim(steps)
    ids = np.stack([model.tokenizer.row(text) for text in ("", prompt)])
    text = model.encode_text(ids)
    x = ref.generator(seed).randn((1, 4, side, side))
    for k, t in enumerate(ddim.timesteps):
        both = model.unet(np.repeat(x, 2, axis=0), t, text)
        noise = ref.guidance(both[:1], both[1:], scale)
        x = ddim.step(k, noise, x)
    image = model.decode(x / model.info.scaling_factor)
    return np.clip(image / 2 + 0.5, 0, 1)
