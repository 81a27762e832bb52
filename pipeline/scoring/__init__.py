"""How good a prediction is: distances, protocols, looking up, statistics over samples, and the tables of it all.

Predictions come as arrays; it knows neither networks nor their checkpoints. It may know `shards`, `geometry`,
`runtime`, and of `sources` the categories' names.
"""
