"""What trained systems make of test models, drawn for the page of stage report.

It may know `answers`, `model`, `pages`, `runtime`, `scoring`, `shards`, `sources` and `training`.
"""
