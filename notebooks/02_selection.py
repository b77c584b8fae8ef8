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
# # 02 · Selection
#
# *Pre-train only on public images that look like the private ones.* RPGen keeps the top 5 percent of the classes, PrivImage
# 1 to 5 percent. Nothing private happens here: the choice is a function of the noisy histogram, and post-processing of a
# differentially private release costs nothing more.

# %% tags=["parameters"]
method: str = "rpgen"  # a row of the table of methods
private: str = "mnist5k"  # the private set: a built-in name, or folder:PATH
public: str = "glyphs"  # the public set
scale: str = "smoke"  # name of the scale, on figures and folders: smoke | laptop
epsilon: float = 10.0  # total privacy budget; .inf is the non-private twin
delta: float = 1e-5  # delta of the (epsilon, delta) guarantee; below 1/n_records
allow_large_delta: bool = False  # permit a delta of 1/n_records or more
noise: str = "seeded"  # seeded: a reproduction, not a release | secret
seed: int = 0  # public randomness, and the coins under noise: seeded
sample_rate: float = 0.1  # Poisson sampling rate q of a DP-SGD step
steps: int = 5  # DP-SGD steps T
noise_multiplicity: int = 1  # draws of the diffusion noise a record, averaged, K
learning_rate: float = 1e-3  # Adam, DP-SGD fine-tuning
pretrain_steps: int = 20  # Adam steps on public images
pretrain_batch: int = 128  # public images a step of pre-training
pretrain_rate: float = 7e-3  # Adam in pre-training, at its peak
pretrain_average: float = 0.998  # rate of the base's moving average
encoder_steps: int = 30  # steps of the query function, or of the autoencoder
encoder_batch: int = 128  # public images a step of the encoder
encoder_rate: float = 2e-3  # Adam, the encoder, at its peak
width: int = 16  # channels of the denoiser's first level
extractor_steps: int = 30  # steps of the feature extractor behind FD-convnet
inception: str = None  # file of Inception's weights: FID in place of FD-convnet
n_synthetic: int = 200  # synthetic images drawn for evaluation
n_records: int = None  # folder sets: declared number of records
labels: list = None  # folder sets: declared class names
size: int = None  # folder sets: declared side in pixels
background: str = "white"  # folder sets: colour under transparent pixels
options: dict = {}  # the method's own options

# %%
from dpsynth import figures
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.report import displays
from dpsynth.stages import planning, query, selection

p = Params.read(globals())
badge = displays.badge(p)
plan = Run(p).plan

# %% tags=["raises-exception"]
displays.plan(plan)

# %% [markdown]
# ## The rule
#
# $$\mathcal C_y = \arg\max_{|\mathcal C| = m,\ \mathcal C \cap \mathcal C_{y'} = \emptyset\ \forall y' < y} \sum_{c \in \mathcal C} \tilde h_{y,c}, \qquad
# D_\text{sel} = \bigcup_y \{(x, y) : x \in D_\text{pub},\ \text{class}(x) \in \mathcal C_y\}$$
#
# Private labels pick one after the other, each all its $m$, and a class that one has taken is not offered to the next
# (PrivImage's code). A picked
# image carries the private label that picked it: this map is what lets the base model learn the private labels before it
# has seen one private image. $m$ is the option `kept`. With `match: proportional` as many images are drawn in all, with replacement, in
# proportion to the noisy votes of each kept class.

# %%
corpus = Run(p).corpus

# %% tags=["raises-exception"]
print(displays.selection(corpus, p))

# %% [markdown]
# ## The map
#
# Each private label, and the public classes it took.

# %%
encoder = Run(p).encoder

# %% tags=["raises-exception"]
displays.label_map(corpus, getattr(encoder, "classes", None), p)

# %% [markdown]
# ## What the base model will see
#
# (DP-FETA shows its released central images here, each turned, resized and shifted in many ways.)

# %% tags=["raises-exception"]
if corpus is not None:
    figures.grid(*selection.examples(corpus, p.constants.classes, 16), title="What the base model sees", badge=badge)

# %% [markdown]
# Selected images are already useful: a classifier trained on them alone, with their mapped labels, is the row
# `floor_public` of notebook 05. A private method that does not beat it has not earned its budget.
#
# **Try this.** Set `options = {"kept": 20}`. The corpus grows fourfold; does the grid still look like the private classes?
