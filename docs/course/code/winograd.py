"""Chapter 12: two outputs of a convolution of width three, with four products instead of six."""


def plain_two(d, g):
    y0 = d[0] * g[0] + d[1] * g[1] + d[2] * g[2]
    y1 = d[1] * g[0] + d[2] * g[1] + d[3] * g[2]
    return y0, y1


def winograd_two(d, g):
    m0 = (d[0] - d[2]) * g[0]
    m1 = (d[1] + d[2]) * (g[0] + g[1] + g[2]) / 2
    m2 = (d[2] - d[1]) * (g[0] - g[1] + g[2]) / 2
    m3 = (d[1] - d[3]) * g[2]
    return m0 + m1 + m2, m1 - m2 - m3
