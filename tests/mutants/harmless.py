"""Mutants that survive the tests of `make mutants`, and why each is harmless."""

HARMLESS = {
    "coins.py:Coins.discrete_gaussians: 12 -> 13": "the table reaches further than its error bound needs",
    "coins.py:Coins.discrete_gaussians: 1 -> 2 (3)": "the outermost value has the probability of rounding",
    "coins.py:Coins.fingerprint: 16 -> 17": "a name longer by a letter",
    "engine/layers.py:_linear_squares: 1 -> 2 (4)": "a shortcut elsewhere: where it is wrong, norms are larger",
    "engine/layers.py:_linear_squares: 1 -> 2 (6)": "it allows for one rounding more than there is",
    "engine/parts.py:Reused.weighted: True -> False": "the two lists that are zipped are made of the same blocks",
    "private.py:Private.count: histogram + noise.reshape(histogram.shape)"
    " -> histogram - noise.reshape(histogram.shape)": "the discrete Gaussian is symmetric",
    "private.py:Private.total: table + mechanism.scale * noise.reshape(table.shape)"
    " -> table - mechanism.scale * noise.reshape(table.shape)": "the Gaussian is symmetric",
}  # fmt: skip
