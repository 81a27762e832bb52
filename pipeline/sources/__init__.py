"""What lies on a disk: layouts of data sets, their splits, photos, binvox and MAT grids, categories' names.

`registry.py` finds the models of a folder; a new data set is one new file and its entry there. It may know `runtime`
and, for meshes read and normalised, `geometry`.
"""
