"""How good a prediction is: distances, protocols, looking up, statistics over samples, and the tables of it all.

It may know `model`'s outputs as arrays, `shards`, `geometry`, the categories' names, and `runtime`; no checkpoint.
"""
