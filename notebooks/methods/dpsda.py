# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # DPSDA · Private Evolution
#
# *Train nothing; let the records vote.* In each iteration of Private Evolution (Lin et al. 2024, Algorithms 1 and 2) every record votes for the candidate of
# its own label that is nearest to it in the query function's features; the histogram gets discrete Gaussian noise, loses a
# threshold $H$, and candidates are drawn in proportion to what is left, and varied:
#
# $$\tilde h_{y,j} = \sum_{i:\,y_i=y} \mathbb 1\Big[j = \arg\min_k \lVert f(x_i) - \bar f_{y,k} \rVert\Big] + \mathcal N_{\mathbb Z}(0, \sigma^2),
# \qquad p_{y,j} \propto [\tilde h_{y,j} - H]_+,$$
#
# where $\bar f_{y,k}$ is the mean of $f$ over `lookahead` variations of candidate $k$ (with 0, $f$ of the candidate itself). One vote a record: sensitivity 1, and
# $T$ histograms compose exactly.

# %% tags=["parameters"]
method = "dpsda"  # a row of the table of methods
private = "mnist5k"  # the private set: a built-in name, or folder:PATH
public = "glyphs_without_digits"  # the public set
epsilon = 10.0  # the budget in all
seed = 0  # of public randomness, and of the coins where they are no secret
scale = "smoke"  # sizes, of params/scales/: smoke (a minute a page, without meaning) or laptop
changes = {}  # any other parameter or option of the method, as {"iterations": 4}

# %%
from dpsynth import Params, Run, figures
from dpsynth.methods import dpsda
from dpsynth.report import displays, pictures, run_files
from dpsynth.report.source import source

run = Run(Params.at(scale, method=method, private=private, public=public, epsilon=epsilon, seed=seed, **changes))
badge = displays.badge(run.params)

# %% tags=["raises-exception"]
displays.plan(run.plan)

# %% tags=["raises-exception"]
source(dpsda.nearest)

# %% [markdown]
# ## Candidates
#
# A candidate is varied by noising it to a level that falls from iteration
# to iteration and denoising it; with `api: glyphs`, as at scale laptop, by another hand of the same character, from the public set's own renderer.

# %%
encoder = run.encoder

# %% tags=["raises-exception"]
print(displays.encoder(encoder))

# %%
base = run.base

# %% tags=["raises-exception"]
print(displays.base(base))

# %% tags=["raises-exception"]
source(dpsda.resampled)

# %%
synthesiser = run.synthesiser

# %%
run_files.write_certificate(run)
# %% tags=["raises-exception"]
displays.certificate(run.certificate)

# %% [markdown]
# ## Along the way
#
# The candidates with most noisy votes. The shapes come from public data, and the votes choose among them.

# %% tags=["raises-exception"]
figures.progress(synthesiser.snapshots, badge=badge)

# %% tags=["raises-exception"]
figures.grid(*pictures.preview(run, run.synthesiser, per_label=12), title="Synthetic images", badge=badge)

# %% [markdown]
# **Try this.** Set `scale = "laptop"` and `changes = {"iterations": 1}`: one histogram, with all of the budget. Is more choice worth less noise?
