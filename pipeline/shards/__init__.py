"""From the disk to a batch: the HDF5 layout, chunks read fast, views prepared, batches of tensors.

It may know `runtime`. Nothing before `pack` needs it, and nothing after it knows meshes.
"""
