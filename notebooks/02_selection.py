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
from dpsynth import Params, Run, figures
from dpsynth.report import displays, pictures
from dpsynth.report.source import source
from dpsynth.stages import selection

run = Run(Params.at(scale, method=method, private=private, public=public, epsilon=epsilon, seed=seed, **changes))
badge = displays.badge(run.params)

# %% [markdown]
# ## The rule
#
# $$\mathcal C_y = \arg\max_{|\mathcal C| = m,\ \mathcal C \cap \mathcal C_{y'} = \emptyset\ \forall y' < y} \sum_{c \in \mathcal C} \tilde h_{y,c}, \qquad
# D_\text{sel} = \bigcup_y \{(x, y) : x \in D_\text{pub},\ \text{class}(x) \in \mathcal C_y\}$$
#
# Private labels pick one after the other, each all its $m$ (the option `kept`), and a class that one has taken is not offered to the next
# (PrivImage's code):

# %% tags=["raises-exception"]
source(selection.pick)

# %% [markdown]
# A picked image carries the private label that picked it: this map is what lets the base model learn the private labels before it
# has seen one private image. With `match: proportional` as many images are drawn in all, with replacement, in
# proportion to the noisy votes of each kept class.

# %%
corpus = run.corpus

# %% tags=["raises-exception"]
print(displays.selection(run))

# %% [markdown]
# ## The map
#
# Each private label, and the public classes it took.

# %% tags=["raises-exception"]
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
#
# **Try this.** Set `scale = "laptop"` and `changes = {"kept": 20}`: twenty classes a label, twice as many. Does the grid still look like the
# private classes? From which class on does it not?
