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
# # Without selection · PDP-Diffusion and DPDM
#
# *What if nothing is asked before DP-SGD?* **PDP-Diffusion** (`pdp_diffusion`, Ghalebikesabi et al. 2023) pre-trains the denoiser on all public images,
# under their public labels, and fine-tunes it privately. **DPDM** (`dpdm`, Dockhorn et al. 2023) starts from random weights. Both spend the whole
# budget on DP-SGD, step by step as in notebook 04.

# %% tags=["parameters"]
method = "pdp_diffusion"  # a row of the table of methods
private = "mnist5k"  # the private set: a built-in name, or folder:PATH
public = "glyphs_without_digits"  # the public set
epsilon = 10.0  # the budget in all; float("inf") is the non-private twin
seed = 0  # of public randomness, and of the coins where they are no secret
scale = "smoke"  # sizes, of params/scales/: smoke (a minute a page, without meaning) or laptop
changes = {}  # any other parameter or option of the method, as {"conditional": False}

# %%
from dpsynth import Params, Run, figures
from dpsynth.report import displays, pictures, run_files
from dpsynth.report.source import source
from dpsynth.stages import dp_sgd

run = Run(Params.at(scale, method=method, private=private, public=public, epsilon=epsilon, seed=seed, **changes))
badge = displays.badge(run.params)

# %% tags=["raises-exception"]
displays.plan(run.plan)

# %% [markdown]
# ## The base
#
# PDP-Diffusion's rows in the tables of PrivImage and RPGen were pre-trained as if all images had one label (`conditional: false`); here the default keeps the
# public labels.

# %% tags=["raises-exception"]
print(displays.selection(run))

# %%
base = run.base

# %% tags=["raises-exception"]
print(displays.base(base))

# %% tags=["raises-exception"]
figures.grid(*pictures.preview(run, base, per_label=12), title="Drawn before any private training", badge=badge)

# %% [markdown]
# ## Fresh labels
#
# A public corpus does not speak the private labels: each of them starts DP-SGD as a fresh random row of the label table.

# %% tags=["raises-exception"]
source(dp_sgd.ready)

# %%
synthesiser = run.synthesiser

# %%
run_files.write_certificate(run)
# %% tags=["raises-exception"]
displays.certificate(run.certificate)

# %% tags=["raises-exception"]
figures.grid(*pictures.preview(run, run.synthesiser, per_label=12), title="Synthetic images", badge=badge)

# %% [markdown]
# **Try this.** Set `scale = "laptop"` and `changes = {"conditional": False}`: the base learns no labels. What becomes of the synthetic images' labels?
