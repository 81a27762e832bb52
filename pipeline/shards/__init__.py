"""From the disk to a batch: the HDF5 layout, chunks read fast, views prepared, batches of tensors.

It may know `runtime`. Stages before pack do without it, and stages after pack read no mesh.
"""
