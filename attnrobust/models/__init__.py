"""MODELS: float32 RGB in [0, 1], NHWC, to logits."""
