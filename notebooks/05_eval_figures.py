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
# in the joint table, is the same method at the same number of steps without clip and noise: what the noise costs, and not what the data could give.
#
# Settings were chosen on another split (`docs/results.md`). Classifiers are taken
# at their last epoch. Of a user's own folder only samples and certificate are shown.

# %% tags=["parameters"]
method = "rpgen"  # a row of the table of methods
private = "mnist5k"  # the private set: a built-in name, or folder:PATH
public = "glyphs_without_digits"  # the public set
epsilon = 10.0  # the budget in all; float("inf") is the non-private twin
seed = 0  # of public randomness, and of the coins where they are no secret
scale = "smoke"  # sizes, of params/scales/: smoke (a minute a page, without meaning) or laptop
changes = {}  # any other parameter or option of the method, as {"votes": 1}

# %%
from dpsynth import Params, Run, figures
from dpsynth.report import displays, pictures, run_files

run = Run(Params.at(scale, method=method, private=private, public=public, epsilon=epsilon, seed=seed, **changes))
badge = displays.badge(run.params)

# %% [markdown]
# ## Synthetic images
#
# Equally many of each label, a public constant (the papers take the private class counts for public, or equal ones); `prior: noisy` asks how many records each
# label has, one vote a record, in the same plan. A denoiser
# draws by DPM-Solver++ in 10 steps (Lu et al. 2022, Algorithm 2; `make samplers` compares it with others), a generator in one.

# %%
samples = run.samples
run_files.write_synthetic(run)
run_files.write_artifacts(run)
# %% tags=["raises-exception"]
displays.prior(run.prior, run.params)

# %% tags=["raises-exception"]
figures.grid(*pictures.by_label(samples, run.params, 12), title="Synthetic images", badge=badge)

# %% [markdown]
# ## Metrics
#
# The Frechet distance compares mean $\mu$ and covariance $\Sigma$ of features of synthetic ($s$) and real ($r$) images,
#
# $$\mathrm{FD} = \lVert \mu_s - \mu_r \rVert^2 + \mathrm{tr}\big(\Sigma_s + \Sigma_r - 2 (\Sigma_s \Sigma_r)^{1/2}\big).$$
#
# It, the kernel distance, precision and recall are torch-fidelity's. Grey images are seen by a convnet that was trained on
# public glyphs for this purpose and that no method sees: `FD-convnet` is **not** an FID, and compares only within this
# project. Images with colour are seen by EfficientNet-Lite0, trained on ImageNet by others: `FD-effnet` is no FID either.
# Precision is the share of synthetic images that lie among real ones, recall the share of real ones among synthetic
# (Kynkäänniemi et al. 2019). `CA` is the accuracy, in percent, on the held-out records, of logistic regression, an MLP and a
# CNN, and with colour of the papers' ResNet-9; images without labels have none.

# %%
run_files.write_metrics(run)
# %% tags=["raises-exception"]
displays.metrics(run)

# %% [markdown]
# ## Beside the papers
#
# The papers' numbers are from other data at another scale (CIFAR-10 with ImageNet, 1.75M weights, days of GPUs; MNIST with
# 60,000 records). They are this method's at this epsilon; neither size nor order need carry over.

# %% tags=["raises-exception"]
displays.beside_papers(run)

# %% [markdown]
# ## Does it memorise, does it cover?
#
# **Evaluation on a public benchmark, not a release**: each synthetic image beside the training record nearest to it, and a
# joint t-SNE of features of synthetic and held-out images.

# %% tags=["raises-exception"]
if run.params.constants.builtin:
    figures.neighbours(*pictures.neighbours(run, 10), badge=badge)

# %% tags=["raises-exception"]
if run.params.constants.builtin:
    figures.tsne(*pictures.embedding(run, 400), run.params.constants.classes, badge=badge)

# %% [markdown]
# ## Real, selected, pre-trained, fine-tuned

# %% tags=["raises-exception"]
figures.hero(pictures.strip(run), badge=badge, classes=pictures.headings(run.params))

# %% [markdown]
# ## RPGen's Table 1: the verdict
#
# The paper has RPGen best in each of 18 columns. Here is what twelve systems on these digits say (`make rpgen-table1_digits`), by rules that stood before the runs: paired over
# seeds, with the test set's own error. Each table and figure of the papers has such a page in `docs/items/`; `docs/items.md` lists them all.

# %% tags=["raises-exception"]
displays.verdicts("rpgen_table1_digits", "claim", "metric", "cells", "ours", "interval", "seeds", "verdict").head(24)

# %% [markdown]
# **Try this.** Set `scale = "laptop"` and `changes = {"n_synthetic": 4000}`: twice as many synthetic images. Which classifier gains most from them, and which
# nothing?
