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
method = "rpgen"  # a row of the table of methods
private = "mnist5k"  # the private set: a built-in name, or folder:PATH
public = "glyphs_without_digits"  # the public set
epsilon = 10.0  # the budget in all; float("inf") is the non-private twin
seed = 0  # of public randomness, and of the coins where they are no secret
scale = "smoke"  # sizes, of params/scales/: smoke (a minute a page, without meaning) or laptop
changes = {}  # any other parameter or option of the method, as {"votes": 1}

# %%
import torch

from dpsynth import Params, Run, figures
from dpsynth.report import displays, pictures
from dpsynth.report.source import source
from dpsynth.stages import selection

run = Run(Params.at(scale, method=method, private=private, public=public, epsilon=epsilon, seed=seed, **changes))
badge = displays.badge(run.params)

# %% [markdown] tags=["lecture"]
# ## The rule
#
# $$\mathcal C_y = \mathrm{arg}\max_{|\mathcal C| = m,\ \mathcal C \cap \mathcal C_{y'} = \emptyset\ \forall y' < y} \sum_{c \in \mathcal C} \tilde h_{y,c}, \qquad
# D_\text{sel} = \bigcup_y \{(x, y) : x \in D_\text{pub},\ \text{class}(x) \in \mathcal C_y\}$$
#
# Private labels pick one after the other, each all its $m$ (the option `kept`), and a class that one has taken is not offered to the next
# (PrivImage's code):

# %% tags=["raises-exception", "lecture"]
source(selection.pick)

# %% [markdown]
# A picked image carries the private label that picked it: this map is what lets the base model learn the private labels before it
# has seen one private image. With `match: proportional` as many images are drawn in all, with replacement, in
# proportion to the noisy votes of each kept class.

# %%
corpus = run.corpus

# %% tags=["raises-exception"]
print(displays.selection(run))

# %% [markdown] tags=["lecture"]
# ## The map
#
# Each private label, and the public classes it took.

# %% tags=["raises-exception", "lecture"]
displays.label_map(run)

# %% [markdown]
# ## What the base model will see
#
# Of each private label, images of its classes in turn.

# %% tags=["raises-exception"]
figures.grid(
    *pictures.examples(corpus, run.params.constants.classes, 15), title="What the base model sees", badge=badge
)

# %% [markdown]
# Selected images are already useful: a classifier trained on them alone, with their mapped labels, is the row
# `floor_public` of notebook 05. A private method that does not beat it has not earned its budget.

# %% [markdown]
# ## Exercises
#
# Answers are folded, and run in seconds.
#
# **Exercise 1.** Choose as many public classes *without* the map: those with most votes in all. How many are the same? Which private labels lose most, and what can the base not learn
# then?

# %% tags=["hide-cell", "raises-exception"]
# Labels whose look-alikes are spread over many classes lose to those whose votes fall on few. And without a map no image carries a private
# label: the base cannot be asked for a "7", and there is no floor_public.
votes, names = run.release.histogram, run.params.constants.classes
picked = selection.pick(votes, run.options.kept)
with_map = {c for row in picked for c in row}
assert len(with_map) == len(picked) * run.options.kept, "no class is taken twice"
without = set(votes.sum(0).topk(len(with_map)).indices.tolist())
print(f"{len(with_map & without)} of {len(with_map)} classes are chosen either way; of each label's {run.options.kept} these many:")
print({name: len(without & {*row}) for name, row in zip(names, picked, strict=False)})

# %% [markdown]
# **Exercise 2.** Labels pick one after the other. How much depends on who comes first?

# %% tags=["hide-cell", "raises-exception"]
# A class that two labels want goes to the first. The order is public and fixed before the records are asked, so it is no matter of privacy;
# that the last label has what the others left may be one of quality.
forwards, backwards = selection.pick(votes, run.options.kept), selection.pick(votes.flip(0), run.options.kept)[::-1]
kept_anyway = [len({*a} & {*b}) for a, b in zip(forwards, backwards, strict=True)]
print(f"of {run.options.kept} classes, each label keeps:", dict(zip(names, kept_anyway, strict=False)))

# %% [markdown]
# **Exercise 3.** The pick for one label looks wrong to you. May you look up *that label's* exact votes, and correct it by hand? What if you ask the noisy query once more, and average?

# %% tags=["hide-cell", "raises-exception"]
# The first is a look at the records without noise, which no epsilon covers, even if only a choice comes of it. The second is a second release: it
# is allowed if it was planned, and costs what two cost.
from dataclasses import replace

from dpsynth.privacy import accounting

asked = run.plan.mechanism("semantic_histogram")
once, twice = (accounting.epsilon([replace(asked, steps=n)], run.params.delta) for n in (1, 2))
assert once < twice
print(f"epsilon {once:.2f} asked once, {twice:.2f} asked twice, of {run.params.epsilon:g}")

# %% [markdown]
# **Exercise 4.** Keep twice as many classes a label. How good are those that come in, by their votes? From which place on is a pick a matter of the noise?

# %% tags=["hide-cell", "raises-exception"]
# Where the votes of neighbouring places differ by less than the noise's deviation, their order is the noise's. (Run the page with
# `changes = {"kept": 20}` and `scale = "laptop"` to see what it makes of the grid above.)
most = min(2 * run.options.kept, votes.shape[1] // len(votes))
places = torch.tensor([[votes[y, c] for c in row] for y, row in enumerate(selection.pick(votes, most))]).double().mean(0)
noise = run.plan.mechanism("semantic_histogram").scale
print("mean noisy votes by place:", *(f"{n:.0f}" for n in places), f"| noise {noise:.1f}")
print(f"a pick is one of {most} places; {(places < 2 * noise).sum()} of them have fewer votes than twice the noise")
