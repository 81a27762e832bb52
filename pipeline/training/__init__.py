"""What the one training loop is made of: order of samples, updates, validation, checkpoints, curves.

It may know `model`, `scoring`, to validate, and `runtime`; where samples come from, the stage tells it.
"""
