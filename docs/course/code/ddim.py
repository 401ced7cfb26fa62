"""Chapter 7: one step of DDIM, and guidance."""


def ddim_step(x, noise, alpha, alpha_prev):
    x0 = (x - (1 - alpha) ** 0.5 * noise) / alpha**0.5
    return alpha_prev**0.5 * x0 + (1 - alpha_prev) ** 0.5 * noise


def guided(uncond, cond, scale):
    return uncond + scale * (cond - uncond)
