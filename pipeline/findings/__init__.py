"""What is in a file that the project reads or writes: facts, checks whether it is whole, a picture.

`registry.py` tells files apart. It may know `geometry`, `sources`, `records` and `shards`, for what they write and
read, `training`, `model`, `scoring` and `answers`, for networks and what they say, `families`, for something to show
them, `pages`, for pictures, and `runtime`.
"""
