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
# # 05 · Evaluation
#
# *Are the synthetic images any good, and better than what was free?* As in the papers: distances between synthetic and
# held-out real images, and the accuracy of classifiers trained on synthetic and tested on real ones. Two rows keep a method
# honest: `floor_public`, the selected public images used as if they were synthetic, and `pretrained`, the base before any
# private learning; both exist only where the corpus carries the private labels. `real` images show the ceiling. `nonprivate`, a run of its own
# in the joint table, is PDP-Diffusion without clip and noise: what that one method gives without a budget. It selects nothing, so a private
# method that selects may pass it.
#
# Settings were chosen on another split; the README says where the held-out digits were seen all the same. Classifiers are taken
# at their last epoch. Of a user's own folder only samples
# and certificate are shown.

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
from dpsynth.report import displays, results
from dpsynth.stages import evaluate, planning

p = Params.read(globals())
badge = displays.badge(p)
plan = Run(p).plan

# %% tags=["raises-exception"]
displays.plan(plan)

# %% [markdown]
# ## Synthetic images
#
# Equally many of each label, as the public prior is uniform (or in the proportions of a prior released with noise). A denoiser
# draws by DPM-Solver++ in 10 steps (Lu et al. 2022, Algorithm 2; `make samplers` compares it with others), a GAN's or DP-MEPF's
# generator in one; DPSDA hands out its last population.

# %%
samples = Run(p).samples
results.write_synthetic(p, samples);

# %% tags=["raises-exception"]
figures.grid(*evaluate.by_label(samples, p, 12), title="Synthetic images", badge=badge)

# %% [markdown]
# ## Metrics
#
# Frechet and kernel distance, precision and recall are torch-fidelity's, on the features of a convnet that was trained on
# public glyphs for this purpose and that no method sees: `FD-convnet` is **not** an FID, and compares only within this
# project. Precision is the share of synthetic images that lie among real ones, recall the share of real ones among synthetic
# (Kynkäänniemi et al. 2019). `CA` is the accuracy, in percent, on the held-out records, of logistic regression, an MLP and a CNN.
# Beside them stand what the method says of itself: `learning-percent`, the share of the weights that DP-SGD trains; `moment-gap` and
# `moment-noise`, the ends of notebook 04's curves.

# %%
measured = Run(p).measurements
results.write_metrics(p, measured);

# %% tags=["raises-exception"]
displays.measured(measured)

# %% [markdown]
# ## Beside the papers
#
# The papers' numbers are from other data at another scale (CIFAR-10 with ImageNet, 1.75M weights, days of GPUs; MNIST with
# 60,000 records). They are this method's at this epsilon; neither size nor order need carry over.

# %% tags=["raises-exception"]
displays.beside_papers(p, measured)

# %% [markdown]
# ## Does it memorise, does it cover?
#
# **Evaluation on a public benchmark, not a release**: each synthetic image beside the training record nearest to it, and a
# joint t-SNE of features of synthetic and held-out images.

# %% tags=["raises-exception"]
if p.constants.builtin:
    figures.neighbours(*evaluate.neighbours(p, 10), badge=badge)

# %% tags=["raises-exception"]
if p.constants.builtin:
    figures.tsne(*evaluate.embedding(p, 400), badge=badge)

# %% [markdown]
# ## Real, selected, pre-trained, fine-tuned

# %% tags=["raises-exception"]
figures.hero(evaluate.strip(p), badge=badge, classes=p.constants.classes[:10])

# %% [markdown]
# **Try this.** Set `n_synthetic = 2000`. Which classifier gains most from more synthetic images?
