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
# # DP-LDM · fewer weights learn
#
# *Noise is added to every weight that learns, but the clipped gradient has norm at most $C$ however many they are.* DP-LDM
# (Lyu et al. 2023) therefore trains the attention's projections and the label embedding alone. `trainable: light` is nearly the form of DPImageBench (which freezes the norms): it
# adds the layers of the noise level and the first convolution; here on codes as on pixels.

# %% tags=["parameters"]
method = "dp_ldm"  # a row of the table of methods
private = "mnist5k"  # the private set: a built-in name, or folder:PATH
public = "glyphs_without_digits"  # the public set
epsilon = 10.0  # the budget in all; float("inf") is the non-private twin
seed = 0  # of public randomness, and of the coins where they are no secret
scale = "smoke"  # sizes, of params/scales/: smoke (a minute a page, without meaning) or laptop
changes = {}  # any other parameter or option of the method, as {"trainable": "all"}

# %%
from dpsynth import Params, Run, figures
from dpsynth.methods import dp_ldm
from dpsynth.models import trainable
from dpsynth.report import displays, pictures, run_files
from dpsynth.report.source import source

run = Run(Params.at(scale, method=method, private=private, public=public, epsilon=epsilon, seed=seed, **changes))
badge = displays.badge(run.params)

# %% tags=["raises-exception"]
displays.plan(run.plan)

# %% [markdown]
# ## The base, on pixels or on codes
#
# With `latent: true` an autoencoder of public images comes first, and the denoiser works on its codes.

# %%
encoder = run.encoder

# %% tags=["raises-exception"]
print(displays.encoder(encoder))

# %% tags=["raises-exception"]
source(dp_ldm.train_latent) if run.settings["latent"] else None

# %%
base = run.base

# %% tags=["raises-exception"]
print(displays.base(base))

# %% [markdown]
# ## Which weights learn

# %% tags=["raises-exception"]
source(trainable.restrict)

# %% tags=["raises-exception"]
figures.trainable(pictures.learning_parts(run), badge=badge)

# %%
synthesiser = run.synthesiser

# %%
run_files.write_certificate(run)
# %% tags=["raises-exception"]
displays.certificate(run.certificate)

# %% tags=["raises-exception"]
figures.grid(*pictures.preview(run, run.synthesiser, per_label=12), title="Synthetic images", badge=badge)

# %% [markdown]
# **Try this.** Set `scale = "laptop"` and `changes = {"trainable": "all", "learning_rate": 5e-3}` (a rate for many weights): all weights learn. Is the noise on each larger? Are the images worse?
