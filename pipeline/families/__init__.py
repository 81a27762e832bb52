"""The embedded data set's parametric shapes: eight categories, each with its exact solid (`registry.py`).

On the ground: it knows NumPy alone.
"""
