"""What the one training loop is made of: order of samples, updates, validation, checkpoints, curves.

It may know `model`, `shards`, where samples come from, `scoring`, to validate, and `runtime`.
"""
