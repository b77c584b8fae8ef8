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
# # DP-MEPF · match one noisy mean
#
# *Ask once, then train as long as you like.* DP-MEPF (Harder et al. 2023, Sec. 3) asks for the mean embedding of features $\phi$ of a public network (our query function, or
# ImageNet's VGG-19 where `vgg19` names a file of its weights), joint with the label, and trains a generator until its own is the same:
#
# $$\tilde\mu = \frac1N \Big(\sum_i \frac{\phi(x_i)}{\lVert\phi(x_i)\rVert} \otimes e_{y_i} + \mathcal N(0, \sigma^2 \Delta^2 I)\Big),
# \qquad \min_G \Big\lVert \tilde\mu - \mathbb E_{z, y}\, \frac{\phi(G(z, y))}{\lVert\phi(G(z, y))\rVert} \otimes e_y \Big\rVert^2.$$
#
# A record adds one unit vector in the row of its label, so $\Delta = 1$ for the sum; with `moments: 2` it adds the squares too, as a second
# unit vector, and $\Delta = \sqrt2$. $N$ is declared: the published code divides each class by its own count, which is private.

# %% tags=["parameters"]
method = "dp_mepf"  # a row of the table of methods
private = "mnist5k"  # the private set: a built-in name, or folder:PATH
public = "glyphs_without_digits"  # the public set
epsilon = 10.0  # the budget in all
seed = 0  # of public randomness, and of the coins where they are no secret
scale = "smoke"  # sizes, of params/scales/: smoke (a minute a page, without meaning) or laptop
changes = {}  # any other parameter or option of the method, as {"moments": 2}

# %%
from dpsynth import Params, Run, figures
from dpsynth.methods import dp_mepf
from dpsynth.report import displays, pictures, run_files
from dpsynth.report.source import source

run = Run(Params.at(scale, method=method, private=private, public=public, epsilon=epsilon, seed=seed, **changes))
badge = displays.badge(run.params)

# %% tags=["raises-exception"]
displays.plan(run.plan)

# %%
encoder = run.encoder

# %% tags=["raises-exception"]
print(displays.encoder(encoder))

# %% tags=["raises-exception"]
source(dp_mepf.perceptual)

# %% tags=["raises-exception"]
source(dp_mepf.match)

# %%
synthesiser = run.synthesiser

# %% [markdown]
# ## The gap
#
# The dashed line is what noise alone leaves of it; a generator that comes below it has begun to draw the noise.

# %% tags=["raises-exception"]
figures.matching(synthesiser.curves["gap"], synthesiser.curves["noise"], badge=badge)

# %%
run_files.write_certificate(run)
# %% tags=["raises-exception"]
displays.certificate(run.certificate)

# %% [markdown]
# ## Along the way

# %% tags=["raises-exception"]
figures.progress(synthesiser.snapshots, badge=badge)

# %% tags=["raises-exception"]
figures.grid(*pictures.preview(run, run.synthesiser, per_label=12), title="Synthetic images", badge=badge)

# %% [markdown]
# **Try this.** Set `scale = "laptop"` and `epsilon = 1.0`. Where does the dashed line go, and what of the images goes with it?
