"""Activations on disk: number formats, shard files, the index of clips, and readers that never hold more than a buffer.

`formats` bytes of one token · `shard` one file · `index` clip → rows · `shuffled` (with `buffer`) random order from
disk · `streamed` random order straight from the model · `extract` the model's side · `estimate` will it fit ·
`summary` a hookpoint in one row.
"""
