"""Chapter 6: the U as a list of outputs (name, channels, height), of a UNet with these widths per level."""


def unet_shapes(widths, size):
    rows, skips = [("conv_in", widths[0], size)], [widths[0]]
    for i, C in enumerate(widths):
        rows += [(f"down_blocks.{i}.resnets.{j}", C, size) for j in range(2)]
        skips += [C, C] + [C] * (i < len(widths) - 1)
        if i < len(widths) - 1:
            size = (size + 1) // 2
            rows.append((f"down_blocks.{i}.downsamplers.0", C, size))
    rows += [(f"mid_block.resnets.{j}", C, size) for j in range(2)]
    joined = C
    for i, C in enumerate(reversed(widths)):
        for j in range(3):
            rows.append((f"up_blocks.{i}.resnets.{j}", C, f"of {joined} + {skips.pop()}"))
            joined = C
    return rows
