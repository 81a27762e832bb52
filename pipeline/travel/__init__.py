"""A trained system as files that travel: as an ONNX graph, and the card that goes with it.

It may know `model`, `training` and `shards`, for what networks are and see, `scoring`, for figures, of
`sources` the categories' names, and `runtime`.
"""
