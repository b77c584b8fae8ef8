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
# Settings of RPGen and PrivImage were chosen on another split; `docs/results.md` says which others. Classifiers are taken
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

# %% [markdown] tags=["lecture"]
# ## Real, selected, pre-trained, fine-tuned

# %% tags=["raises-exception", "lecture"]
figures.hero(pictures.strip(run), badge=badge, classes=pictures.headings(run.params))

# %% [markdown] tags=["lecture"]
# ## RPGen's Table 1: the verdict
#
# The paper has RPGen best in each of 18 columns. Here is what twelve systems on these digits say (`make rpgen-table1_digits`), by rules that stood before the runs: paired over
# seeds, with the test set's own error. Each table and figure of the papers has such a page in `docs/items/`; `docs/items.md` lists them all.

# %% tags=["raises-exception", "lecture"]
displays.verdicts("rpgen_table1_digits", "claim", "cells", "verdict", "metric", "ours", "interval", "seeds").head(24)

# %% [markdown]
# ## Exercises
#
# Answers are folded, and run in seconds.
#
# **Exercise 1.** Of how many standard errors of the test set is the difference between this method and each other row, in CNN accuracy? Which differences does the test set alone not tell apart from none?

# %% tags=["hide-cell", "raises-exception"]
# An accuracy p on n images has a binomial error of sqrt(p (1 - p) / n); of a difference of two, as if they erred independently, both count, in
# squares. Seeds come on top of that: one run is one draw of everything.
from math import hypot

from dpsynth.data import catalog

right = {row: found.values["CA-CNN"] / 100 for row, found in run.measurements.items() if "CA-CNN" in found.values}
judges = catalog.constants(run.params.private, "test").n_records if right else 0
error = {row: (p * (1 - p) / judges) ** 0.5 for row, p in right.items()}
for row in sorted(right.keys() - {run.row_name}) if run.row_name in right else ():
    by, half = right[run.row_name] - right[row], 1.96 * hypot(error[row], error[run.row_name])
    print(f"{run.row_name} less {row}: {100 * by:+.1f}, half an interval {100 * half:.1f}: told apart: {abs(by) > half}")

# %% [markdown]
# **Exercise 2.** Two methods differ by one point of accuracy, and each has a standard deviation of 1.5 over seeds. How many seeds of each does a 95 percent interval need to tell them apart, if the test
# set were without error?

# %% tags=["hide-cell", "raises-exception"]
# The difference of two independent values has sqrt(2) times the deviation; Student's t with n - 1 degrees, as for differences paired over
# seeds, whose deviation is estimated from the same n. Three seeds tell apart only what is more than five times as large.
from scipy import stats

half = {n: stats.t.ppf(0.975, n - 1) * 1.5 * (2 / n) ** 0.5 for n in range(2, 60)}
needed = min(n for n, width in half.items() if width < 1)
assert half[3] > 5 and 15 < needed < 25
print(f"half an interval at 3 seeds: {half[3]:.1f} points; below 1 from {needed} seeds on")

# %% [markdown]
# **Exercise 3.** A table has for each method the best of three classifiers' accuracies, chosen on the test images, where another has the mean of the three. By how much is it ahead, if the three are
# equally good?

# %% tags=["hide-cell", "raises-exception"]
# By the mean of the largest of three normals, in units of their deviation: an advantage that no method has earned.
import torch

three = torch.randn(100_000, 3, generator=torch.Generator().manual_seed(seed))
ahead = (three.max(1).values - three.mean(1)).mean().item()
assert 0.82 < ahead < 0.88
print(f"the best of three is ahead of their mean by {ahead:.2f} deviations")

# %% [markdown]
# **Exercise 4.** Which row of the metrics is best, and how private is it? Which picture above would notice a method that publishes its training images?

# %% tags=["hide-cell", "raises-exception"]
# `real` is the training images themselves: the smallest distance, the largest recall, and no privacy at all. Metrics of quality cannot see that.
# The nearest neighbours can, where they are copies: their distance is 0. That they are not proves nothing; the certificate is the promise.
distance = {row: next((v for name, v in found.values.items() if name.startswith("FD")), None) for row, found in run.measurements.items()}
print("Frechet distances:", {row: round(v, 2) for row, v in distance.items() if v is not None})
if run.params.constants.builtin:
    *_, nearest = pictures.neighbours(run, 10)
    print(f"from ten synthetic images to the nearest training image: {nearest.min():.2f} to {nearest.max():.2f}; of a copy: 0")
