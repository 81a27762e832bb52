"""Work a model at a time: records cached by content, rejects with reasons, worker processes that may crash or hang.

It may know `sources`, `geometry` and `runtime`; what is computed, the stages tell it.
"""
