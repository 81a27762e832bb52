"""A trained system and somebody's photo: what answers, what it sees, the shape that it says, as a file and on a page.

It may know `model`, its `layers` and `training`, for networks, `scoring`, for what they predict, `shards`, for how they
see, `sources`, for photos, `geometry`, for shapes as files, `pages`, for pictures of them, and `runtime`.
"""
