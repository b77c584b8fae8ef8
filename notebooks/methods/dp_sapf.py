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
# # DP-SAPF · ask which matrices to train
#
# *Let the records say which weights matter.* DP-SAPF (USENIX Security 2026) takes each record's gradient $g_i$ at the base, clipped to $C$ over all weights,
# and releases for each matrix $m$ a score,
#
# $$\tilde s_m = \frac1N \Big( \sum_i \frac{\lVert \mathrm{clip}_C(g_i)_m \rVert_F^2}{C^2} + \mathcal N(0, \sigma_s^2) \Big).$$
#
# A record's scores are not negative and sum to at most 1, so their vector has norm at most 1. (With `score: votes` a record votes for its
# $v$ largest matrices, sensitivity $\sqrt v$.) The probe is in the plan, as any other touch.

# %% tags=["parameters"]
method = "dp_sapf"  # a row of the table of methods
private = "mnist5k"  # the private set: a built-in name, or folder:PATH
public = "glyphs_without_digits"  # the public set
epsilon = 10.0  # the budget in all
seed = 0  # of public randomness, and of the coins where they are no secret
scale = "smoke"  # sizes, of params/scales/: smoke (a minute a page, without meaning) or laptop
changes = {}  # any other parameter or option of the method, as {"share": 0.5}

# %%
from dpsynth import Params, Run, figures
from dpsynth.methods import dp_sapf
from dpsynth.report import displays, pictures, run_files
from dpsynth.report.source import source

run = Run(Params.at(scale, method=method, private=private, public=public, epsilon=epsilon, seed=seed, **changes))
badge = displays.badge(run.params)

# %% tags=["raises-exception"]
displays.plan(run.plan)

# %% tags=["raises-exception"]
source(dp_sapf.squared_norms)

# %%
base = run.base

# %% tags=["raises-exception"]
print(displays.base(base))

# %% [markdown]
# ## The choice
#
# The top share (`share`) learns, beside the labels' table and nothing else: as adapters $W + UV$ of rank 4, with $U$ zero
# at first, or whole with `low_rank: false`, as at scale laptop.

# %% tags=["raises-exception"]
source(dp_sapf.pick)

# %%
probe = run.probe

# %% tags=["raises-exception"]
if probe is not None:
    figures.saliency(*pictures.chosen_matrices(run), badge=badge)

# %%
synthesiser = run.synthesiser

# %%
run_files.write_certificate(run)
# %% tags=["raises-exception"]
displays.certificate(run.certificate)

# %% tags=["raises-exception"]
figures.grid(*pictures.preview(run, run.synthesiser, per_label=12), title="Synthetic images", badge=badge)

# %% [markdown]
# **Try this.** Set `scale = "laptop"` and `changes = {"choice": "random"}`: as many matrices, drawn by lot, and nothing asked. Did saliency choose better than chance?
