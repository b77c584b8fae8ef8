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
# # DP-FETA · central images first
#
# *Easy features first.* DP-FETA (IEEE S&P 2025) asks for no votes but for one picture: the mean of each label's records at half their side,
#
# $$\tilde \mu_y = \frac{L}{N} \Big( \sum_{i:\,y_i = y} \mathrm{pool}_2(x_i) + \mathcal N(0, \sigma_q^2\, d\, I) \Big), \qquad
# \mathrm{pool}_2(x) \in [0, 1]^d, \quad \lVert \mathrm{pool}_2(x) \rVert \le \sqrt d,$$
#
# with $L$ labels and $N$ records declared. One record moves one row by at most $\sqrt d$. The paper's code divides by the number
# of records of the label that were drawn, a private number: for a rare label its sensitivity is larger than stated. With `centre: mode`
# each record votes for one level of each pixel, and the sensitivity is $\sqrt d$ as well.

# %% tags=["parameters"]
method = "dp_feta"  # a row of the table of methods
private = "mnist5k"  # the private set: a built-in name, or folder:PATH
public = "glyphs_without_digits"  # the public set
epsilon = 10.0  # the budget in all; float("inf") is the non-private twin
seed = 0  # of public randomness, and of the coins where they are no secret
scale = "smoke"  # sizes, of params/scales/: smoke (a minute a page, without meaning) or laptop
changes = {}  # any other parameter or option of the method, as {"centre": "mode"}

# %%
from dpsynth import Params, Run, figures
from dpsynth.methods import dp_feta
from dpsynth.report import displays, pictures, run_files
from dpsynth.report.source import source

run = Run(Params.at(scale, method=method, private=private, public=public, epsilon=epsilon, seed=seed, **changes))
badge = displays.badge(run.params)

# %% tags=["raises-exception"]
displays.plan(run.plan)

# %% tags=["raises-exception"]
source(dp_feta.central_images)

# %% tags=["raises-exception"]
source(dp_feta.mechanism)

# %%
release = run.release

# %% [markdown]
# ## As released
#
# After post-processing: cut to $[0, 1]$, enlarged, median of 3 by 3 pixels.

# %% tags=["raises-exception"]
if release is not None:
    shown = dp_feta.images(release, run.params.shape[1])
    figures.grid(shown, badge=badge, title="Central images, as released", captions=run.params.constants.classes)

# %% [markdown]
# ## The warm-up
#
# Each central image, turned, resized and shifted at random, is what the denoiser is trained on before DP-SGD.

# %%
corpus = run.corpus

# %% tags=["raises-exception"]
if corpus is not None:
    figures.grid(
        *pictures.examples(corpus, run.params.constants.classes, 15), title="What the base model sees", badge=badge
    )

# %%
base = run.base

# %% tags=["raises-exception"]
print(displays.base(base))

# %%
synthesiser = run.synthesiser

# %%
run_files.write_certificate(run)
# %% tags=["raises-exception"]
displays.certificate(run.certificate)

# %% tags=["raises-exception"]
figures.grid(*pictures.preview(run, run.synthesiser, per_label=12), title="Synthetic images", badge=badge)

# %% [markdown]
# **Try this.** Set `scale = "laptop"` and `changes = {"warmup": "none"}`: no central images, no warm-up. What is the first thing that is missing in the grid?
