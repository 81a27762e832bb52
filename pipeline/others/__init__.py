"""What others predict: which file answers which test sample, the shape in it, and how it comes into the shards' frame.

It may know `scoring`, for what a prediction is, and `sources` and `geometry`, for formats of grids and meshes.
"""
