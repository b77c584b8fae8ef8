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
# # GANs · DPGAN, DPGAN-p, PrivImage+G
#
# *Only the discriminator meets records.* Three methods (`dpgan`, Xie et al. 2018; `dpgan_p` and `privimage_g`, PrivImage Sec. 4.2, App. C.1) train a discriminator $D$ and a
# generator $G$ with hinge losses (Brock et al. 2019, App. C). DPGAN starts from random weights, DPGAN-p from all public images, PrivImage+G from those that the
# semantic query of notebooks 01 and 02 selects.

# %% tags=["parameters"]
method = "privimage_g"  # a row of the table of methods
private = "mnist5k"  # the private set: a built-in name, or folder:PATH
public = "glyphs_without_digits"  # the public set
epsilon = 10.0  # the budget in all
seed = 0  # of public randomness, and of the coins where they are no secret
scale = "smoke"  # sizes, of params/scales/: smoke (a minute a page, without meaning) or laptop
changes = {}  # any other parameter or option of the method, as {"turn": 2}

# %%
from dpsynth import Params, Run, figures
from dpsynth.methods import gans
from dpsynth.models import gan
from dpsynth.report import displays, pictures, run_files
from dpsynth.report.source import source

run = Run(Params.at(scale, method=method, private=private, public=public, epsilon=epsilon, seed=seed, **changes))
badge = displays.badge(run.params)

# %% tags=["raises-exception"]
displays.plan(run.plan)

# %% tags=["raises-exception"]
source(gan.hinge)

# %% [markdown]
# ## Public training
#
# Without noise, on the corpus. After each step every map of $D$ is scaled down to unit spectral norm (Miyato et al. 2018 do it within the forward), which
# reads released weights alone; without it, $D$ soon tells fakes by one pixel and $G$ draws one image a label.

# %% tags=["raises-exception"]
source(gan.scale_to_unit_norm)

# %% tags=["raises-exception"]
print(displays.selection(run))

# %%
base = run.base

# %% tags=["raises-exception"]
print(displays.base(base))

# %% tags=["raises-exception"]
if base.history.get("clean"):
    figures.losses({"discriminator": base.history}, badge=badge)

# %% [markdown]
# ## Private training
#
# The private step is DP-SGD on $D$:
#
# $$\tilde g_t = \frac1{qN}\Big(\sum_{i\in B_t}\mathrm{clip}_C\,\nabla [1 - D(x_i, y_i)]_+ + \mathcal N(0, \sigma^2 C^2 I)\Big)
# + \frac1M \sum_{j=1}^M \mathrm{clip}_C\,\nabla [1 + D(G(z_j, y_j), y_j)]_+, \qquad M = \mathrm{round}(qN).$$
#
# The number of fakes $M$ is a constant: fakes are clipped by themselves, so that one more for each record drawn would let a record move the sum by
# $2C$ where the accounting has $C$. PrivImage's code takes as many fakes as records, and may: Opacus clips a record and its fake together.
#
# $G$ descends $-D(G(z, y), y)$ on a copy of $D$, which is post-processing. Below: the expected norm of a step's noise over the largest norm that the averaged clipped
# gradient can have. The noise grows with the square root of the number of weights, so a small discriminator helps.

# %% tags=["raises-exception"]
source(gans.dp_gan)

# %% tags=["raises-exception"]
if run.plan.is_private:
    figures.noise_to_signal(*pictures.noise_to_signal(run), badge=badge)

# %%
synthesiser = run.synthesiser

# %%
run_files.write_certificate(run)
# %% tags=["raises-exception"]
displays.certificate(run.certificate)

# %% [markdown]
# ## Along the way
#
# What it drew while it learned, from the same latents: post-processing of what was released.

# %% tags=["raises-exception"]
figures.progress(synthesiser.snapshots, badge=badge)

# %% tags=["raises-exception"]
figures.grid(*pictures.preview(run, run.synthesiser, per_label=12), title="Synthetic images", badge=badge)

# %% [markdown]
# **Try this.** Set `scale = "laptop"` and `method = "dpgan"`: no public images at all. How many different images does each label get?
