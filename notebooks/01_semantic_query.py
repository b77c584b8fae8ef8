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
# # 01 · The semantic query
#
# *Which public classes do the private images resemble?* RPGen (Stage 1) and PrivImage (Sec. 3.2, 3.3) train a classifier on public
# images, let every private image vote for the public classes it looks like, and publish the histogram of votes with Gaussian
# noise. For RPGen it is the first of two private touches; the second is DP-SGD in notebook 04. The plan below lists those of the method
# that runs: they are priced together, before any happens.
#
# Parameters come next: the defaults are the smoke scale, about a minute. `make reproduce` injects those of `params/`.
# A cell that only shows something is tagged `raises-exception`: if its picture cannot be drawn, it says so, and the run goes on.

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
from dpsynth.artifacts import Central, Release
from dpsynth.methods import dp_feta
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.report import displays
from dpsynth.stages import label_prior, planning, query, recall, selection

p = Params.read(globals())
badge = displays.badge(p)

# %% [markdown]
# ## The idea, on three horses
#
# PrivImage's own example: the public classes are *zebra* and *bee*; the private set holds three pictures of horses. A
# horse looks more like a zebra than like a bee, so the votes are 3 and 0. Removing a horse would change one count by one:
# the sensitivity is 1. Gaussian noise of standard deviation $\sigma$ hides that change, and zebra still wins.

# %% tags=["raises-exception"]
figures.toy({"zebra": 3, "bee": 0}, noise_multiplier=1.0, seed=p.seed, badge=badge)

# %% [markdown]
# ## The plan
#
# Everything private that this run will ever do, fixed before the first touch. With $k$ votes a record, adding or removing a
# record moves $k$ counts by one each, so the sensitivity is $\sqrt k$ and each count gets noise $\sigma_q \sqrt k$, where $\sigma_q$ is the noise multiplier.
# Neighbouring data sets differ by **adding or removing one record**.

# %%
plan = Run(p).plan

# %% tags=["raises-exception"]
displays.plan(plan)

# %% [markdown]
# RPGen and PrivImage set $\sigma_q = 484$ for CIFAR-10's 50,000 images, at a cost of almost nothing; in a simulation of such counts the five classes
# with most noisy votes then hold a fifth to a half of the right ones. Here $\sigma_q$ follows a rule on public constants: as small as possible
# while DP-SGD needs at most 5 percent more noise than it would without a query, and never below 4.
#
# ## The query function
#
# A small convolutional classifier over the public classes. Its accuracy on held-out public images tells how much its votes
# can mean; it never sees a private image while it is trained. DP-MEPF and DPSDA ask nothing here, and use its features in notebook 04.
# (For DP-LDM on codes, Lyu et al. 2023, an autoencoder of public images stands in its place.)

# %%
encoder = Run(p).encoder

# %% tags=["raises-exception"]
print(displays.encoder(encoder))

# %% [markdown]
# ## Asking
#
# $$\tilde h_{y,c} = \sum_{i:\,y_i = y} \mathbb 1[\,c \in \mathrm{top}_k f(x_i)\,] + \mathcal N_{\mathbb Z}(0, k\,\sigma_q^2)$$
#
# One row a private label (`per_class`, as PrivImage's code does) or one row in all (`global`, RPGen's text). The noise is the
# *discrete* Gaussian: counts are integers, and so is what is published. Below is the noisy histogram, the only thing that
# leaves; bars show one standard deviation of the noise.

# %%
release = Run(p).release
voted = isinstance(release, Release)

# %% tags=["raises-exception"]
if voted:
    scale = plan.mechanism(p.row.release.name).scale if plan.is_private else 0.0
    figures.histogram(release.histogram, encoder.classes, p.constants.classes, scale, badge=badge)

# %% [markdown]
# The public images that each private label voted for, most votes first. This picture is made from the noisy histogram and
# public images alone, so it may be published.

# %% tags=["raises-exception"]
if voted:
    figures.voted(*selection.favourites(release, p), badge=badge)

# %% [markdown]
# ## How much noise can a selection bear?
#
# **Evaluation on a public benchmark, not a release**: the figure compares noisy picks with the picks that no noise would
# give, over repeated draws. It opens the private records to do so, which only built-in benchmarks allow.

# %% tags=["raises-exception"]
if voted and p.constants.builtin:
    chosen = plan.mechanism(p.row.release.name).noise_multiplier if plan.is_private else None
    figures.recall_curve(**recall.curve(p), chosen=chosen, badge=badge)

# %% [markdown]
# Noise weighs by the number of records: the papers' 484 on 50,000 is as 39 here. PrivImage's code added *uniform* noise, which gives no
# $(\varepsilon, \delta)$ guarantee, until after publication.
#
# ## Other questions
#
# **Central images.** DP-FETA (S&P 2025) asks for no votes but for one picture: the mean of each label's records at half their side,
#
# $$\tilde \mu_y = \frac{L}{N} \Big( \sum_{i:\,y_i = y} \mathrm{pool}_2(x_i) + \mathcal N(0, \sigma_q^2\, d\, I) \Big), \qquad
# \mathrm{pool}_2(x) \in [0, 1]^d, \quad \lVert \mathrm{pool}_2(x) \rVert \le \sqrt d,$$
#
# with $L$ labels and $N$ records declared. One record moves one row by at most $\sqrt d$. The paper's code divides by the number
# of records of the label that were drawn, a private number: for a rare label its sensitivity is larger than stated. With `centre: mode`
# each record votes for one level of each pixel, and the sensitivity is $\sqrt d$ as well. Below are the images as released, after
# post-processing (cut to $[0, 1]$, enlarged, median of 3 by 3 pixels).

# %% tags=["raises-exception"]
if isinstance(release, Central):
    shown = dp_feta.images(release, p.shape[1])
    figures.grid(shown, badge=badge, title="Central images, as released", captions=p.constants.classes)
else:
    print("no central images in this run")

# %% [markdown]
# **Labels.** The papers draw samples with the private set's own class counts or with equal ones. Equal ones are a public constant, and the
# default here; `prior: noisy` asks how many records each label has (one vote a record, sensitivity 1), in the same plan.

# %%
prior = Run(p).prior

# %% tags=["raises-exception"]
displays.prior(prior, p)

# %% [markdown]
# **Try this.** Set `options = {"mode": "global", "kept": 50}` in the parameters cell and run again: one histogram for all
# digits. Which digits are missing among the classes with most votes? (Each notebook has a parameters cell of its own: to follow a change through, make it in all.)
