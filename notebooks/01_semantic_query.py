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

# %% [markdown] tags=["lecture"]
# # 01 · The semantic query
#
# *Which public classes do the private images resemble?* RPGen (Stage 1) and PrivImage (Sec. 3.2, 3.3) train a classifier on public
# images, let every private image vote for the public classes it looks like, and publish the histogram of votes with Gaussian
# noise. It is the first of two private touches; the second is DP-SGD in notebook 04. Both are priced together, before any happens.

# %% [markdown]
# The five notebooks tell RPGen's story on one run. Each opens the same run by its parameters, and finds what the others have made. Other methods
# have a page each in `methods/`. A cell that only shows something is tagged `raises-exception`: if its picture cannot be drawn, it says so, and the
# page goes on.

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
from dpsynth.report import displays, pictures
from dpsynth.report.source import source
from dpsynth.stages import query

run = Run(Params.at(scale, method=method, private=private, public=public, epsilon=epsilon, seed=seed, **changes))
badge = displays.badge(run.params)

# %% [markdown] tags=["lecture"]
# ## The idea, on three horses
#
# PrivImage's own example: the public classes are *zebra* and *bee*; the private set holds three pictures of horses. A
# horse looks more like a zebra than like a bee, so the votes are 3 and 0. Removing a horse would change one count by one:
# the sensitivity is 1. Gaussian noise of standard deviation $\sigma$ hides that change, and most likely zebra still wins.

# %% tags=["raises-exception", "lecture"]
figures.toy({"zebra": 3, "bee": 0}, noise_multiplier=1.0, seed=seed)

# %% [markdown] tags=["lecture"]
# ## The plan
#
# Everything private that this run will ever do, fixed before the first touch. With $k$ votes a record (`votes`), adding or removing a
# record moves $k$ counts by one each, so the sensitivity is $\sqrt k$ and each count gets noise $\sigma_q \sqrt k$, where $\sigma_q$ is the noise
# multiplier. RPGen's text has $k = 1$; PrivImage's code, and the default here, several. The sensitivity of DP-SGD is its clipping norm $C$.
# Neighbouring data sets differ by **adding or removing one record**.

# %% tags=["raises-exception", "lecture"]
displays.plan(run.plan)

# %% [markdown]
# RPGen and PrivImage set $\sigma_q = 484$ for CIFAR-10 (45,000 and 50,000 images), at a cost of almost nothing; the figure at the end shows what so much noise leaves
# of a choice. Here $\sigma_q$ follows a rule on public constants: as small as possible while DP-SGD needs at most 5 percent more noise than it
# would without a query, and never below 4.
#
# ## The query function
#
# A small convolutional classifier over the public classes. Its accuracy on held-out public images tells how much its votes
# can mean; it never sees a private image while it is trained. (The papers' is a ResNet-50 on ImageNet, right on 32.9 percent.)

# %%
encoder = run.encoder

# %% tags=["raises-exception"]
print(displays.encoder(encoder))

# %% [markdown] tags=["lecture"]
# ## Asking
#
# $$\tilde h_{y,c} = \sum_{i:\,y_i = y} \mathbb 1[\,c \in \mathrm{top}_k f(x_i)\,] + \mathcal N_{\mathbb Z}(0, k\,\sigma_q^2)$$
#
# One row a private label (`mode: per_class`, as PrivImage's code does) or one row in all (`global`, as RPGen's text has it). The noise is the
# *discrete* Gaussian: counts are integers, and so is what is published.

# %% [markdown]
# In code, the query is one call of one verb on the closed records:

# %% tags=["raises-exception"]
source(query.semantic_histogram)

# %% [markdown] tags=["lecture"]
# ## What leaves
#
# The noisy histogram is the only thing that leaves; bars show one standard deviation of the noise.

# %%
release = run.release

# %% tags=["raises-exception", "lecture"]
deviation = run.plan.mechanism("semantic_histogram").scale
figures.histogram(release.histogram, encoder.classes, run.params.constants.classes, deviation, badge=badge)

# %% [markdown]
# The public images that each private label voted for, most votes first. This picture is made from the noisy histogram and
# public images alone, so it may be published.

# %% tags=["raises-exception"]
figures.voted(pictures.favourites(run), badge=badge)

# %% [markdown]
# ## How much noise can a selection bear?
#
# **Evaluation on a public benchmark, not a release**: the figure compares noisy picks with the picks that no noise would
# give, over repeated draws. It opens the private records to do so, which only built-in benchmarks allow.

# %% tags=["raises-exception"]
if run.params.constants.builtin:
    planned = run.plan.mechanism("semantic_histogram").noise_multiplier
    figures.recall_curve(**pictures.recall_curve(run), chosen=planned, badge=badge)

# %% [markdown]
# Noise weighs by the number of records: the papers' 484 on 50,000 is as 39 on the 4,000 here. PrivImage's code added *uniform* noise, which gives no
# $(\varepsilon, \delta)$ guarantee, until after publication.

# %% [markdown]
# ## Exercises
#
# Answers are folded, and run in seconds.
#
# **Exercise 1.** Each record casts $k$ votes. Why does the noise grow with $\sqrt k$, and neither with $k$ nor not at all? What would be spent under the noise for one vote?

# %% tags=["hide-cell", "raises-exception"]
# What a record adds is a vector with k ones. Its length is sqrt(k), and lengths are what Gaussian noise hides: it is the same in every
# direction. Not k: that is the sum of the entries, which Laplace noise would be made for. And not 1: the epsilon of that is the second below.
from dpsynth.privacy import Counts, accounting

asked = run.plan.mechanism("semantic_histogram")
too_quiet = Counts("noise for one vote", asked.votes, asked.noise_multiplier / asked.votes**0.5)
as_planned, spent = (accounting.epsilon([each], run.params.delta) for each in (asked, too_quiet))
assert abs(asked.sensitivity**2 - asked.votes) < 1e-9 and spent >= as_planned
print(f"{asked.votes} votes: epsilon {as_planned:.2f} under sqrt(k) sigma_q, {spent:.2f} under sigma_q")

# %% [markdown]
# **Exercise 2.** Recompute the standard deviation of a bin's noise from the plan. Then find it in the published numbers alone. (Most bins got no vote; which bins are sure to be low by noise
# alone?)

# %% tags=["hide-cell", "raises-exception"]
# A count is never below zero, so what lies below zero is noise. Noise is symmetric: the bins below zero, and half of those at zero, are half of
# the bins without votes. Their root mean square is its deviation, about: a few bins with votes were pushed below zero as well.
asked = run.plan.mechanism("semantic_histogram")
deviation_of_a_bin = asked.noise_multiplier * asked.votes**0.5
assert abs(deviation_of_a_bin - asked.scale) < 1e-9
negative, at_zero = release.histogram[release.histogram < 0].double(), (release.histogram == 0).sum()
found = (negative.square().sum() / (len(negative) + at_zero / 2)).sqrt()
print(f"planned {deviation_of_a_bin:.2f}, found in {len(negative)} negative bins {found:.2f}")

# %% [markdown]
# **Exercise 3.** A count below zero looks wrong. May all of them be set to zero before the histogram is published? Is the result nearer to the votes?

# %% tags=["hide-cell", "raises-exception"]
# It costs nothing: what is done to a noisy histogram, without a look at the records, is post-processing. Each bin comes nearer to its count,
# which is no negative number. But noise up stays and noise down is cut, so sums over many bins are too large by then, and shares of them wrong.
clipped = release.histogram.clamp(min=0)
votes_cast = run.params.constants.n_records * run.options.votes  # a public constant
assert clipped.sum() >= release.histogram.sum()
print(f"{votes_cast:,} votes were cast; the bins add up to {release.histogram.sum():,}, clipped to {clipped.sum():,}")

# %% [markdown]
# **Exercise 4.** `mode: global` asks for one histogram of all labels. One can also add up the rows of the histogram above. What noise has a bin then, and what has it under a global query of the same
# cost? Which public classes lead?

# %% tags=["hide-cell", "raises-exception"]
# A record is in one row, so both questions have sensitivity sqrt(k), and at the same noise the same cost. A sum of rows has the noise of all of
# them, the global query one: its bins are less noisy by the root of the number of labels. But it says nothing of which label a class is for.
summed, rows = release.histogram.sum(0), len(release.histogram)
one_bin = run.plan.mechanism("semantic_histogram").scale
print(f"noise in a bin: {one_bin * rows**0.5:.1f} summed over {rows} rows, {one_bin:.1f} asked at once")
print("most votes in all:", *(encoder.classes[c] for c in summed.topk(min(12, len(summed))).indices.tolist()))
