"""How good synthetic images are: pure functions of arrays.

`distances` says how far they are from real ones, on the features of `extractors`; `classifiers` what can be learned of
them; `names` how the numbers are printed. Whoever calls them opens the held-out records through `privacy.evaluation`:
a number made here is an evaluation on a public benchmark, not a release.
"""
