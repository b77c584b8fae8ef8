"""Mutants that survive the tests of `make mutants`, and why each is harmless."""

HARMLESS = {
    "coins.py:Coins.discrete_gaussians: 12 -> 13": "the table reaches further than its error bound needs",
    "coins.py:Coins.discrete_gaussians: 1 -> 2 (3)": "the outermost value has the probability of rounding",
    "coins.py:Coins.fingerprint: 16 -> 17": "a name longer by a letter",
    "engine/layers.py:_linear_squares: 1 -> 2 (4)": "a shortcut elsewhere: where it is wrong, norms are larger",
    "engine/layers.py:_linear_squares: 1 -> 2 (6)": "it allows for one rounding more than there is",
    "engine/clip.py:Materialised.weighted_sum: True -> False": "two lists are zipped that are made of the same blocks",
    "private.py:Private.count: histogram + noise.reshape(histogram.shape)"
    " -> histogram - noise.reshape(histogram.shape)": "the discrete Gaussian is symmetric",
    "private.py:Private.total: table + mechanism.scale * noise.reshape(table.shape)"
    " -> table - mechanism.scale * noise.reshape(table.shape)": "the Gaussian is symmetric",
    "methods/dp_feta.py:central_images: votes.view(len(private.classes), -1, n).argmax(2) / (n - 1)"
    " -> votes.view(len(private.classes), -1, n).argmax(2) * (n - 1)": "post-processing of the votes",
    "methods/dp_feta.py:mechanism: 1 -> 2": "the rule sizes the noise for two votes; the plan prices what it states",
    "stages/label_prior.py:mechanism: 1 -> 2 (2)":
        "the rule sizes the noise for two votes; the plan prices what it states",
    "methods/dp_mepf.py:mechanism: 1.0 -> 2.0": "a first value of the noise, which the plan calibrates",
    "methods/dpsda.py:mechanism: 1.0 -> 2.0": "a first value of the noise, which the plan calibrates",
    "methods/gans.py:mechanism: 1.0 -> 2.0": "a first value of the noise, which the plan calibrates",
    "stages/dp_sgd.py:mechanism: 1.0 -> 2.0": "a first value of the noise, which the plan calibrates",
    "methods/dp_mepf.py:perceptual: 1 -> 2": "the length of an embedding is read off two blank images, not one",
    "stages/permit.py:Permit.identity: True -> False": "the order of the fields is the class's own",
    "methods/dp_sapf.py:probe: 1.0 -> 2.0": "the bar of noise in a figure",
    "methods/dp_sapf.py:probe_mechanism: 1 -> 2":
        "the rule sizes the noise for two votes; the plan prices what it states",
}  # fmt: skip
