"""Golden data for the MoLE reference, made by PyTorch, diffusers and transformers."""
