"""Chapter 10: the step of chapter 7 for a network that predicts a velocity."""


def velocity_step(x, v, alpha, alpha_prev):
    x0 = alpha**0.5 * x - (1 - alpha) ** 0.5 * v
    noise = alpha**0.5 * v + (1 - alpha) ** 0.5 * x
    return alpha_prev**0.5 * x0 + (1 - alpha_prev) ** 0.5 * noise
