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
# # 04 · Fine-tuning with DP-SGD
#
# *The last private touch.* RPGen's Stage 3, PrivImage Sec. 3.4 and Algorithm 1, DPDM Sec. 3. Each step draws every record with
# probability $q$, clips each drawn record's gradient, sums, adds Gaussian noise once, and divides by a constant.

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
from dpsynth.budget import planning, risk
from dpsynth.privacy import Private
from dpsynth.privacy.engine import clip, clip_factors, clipped_sum
from dpsynth.report import audit, displays, pictures, run_files
from dpsynth.report.source import source

run = Run(Params.at(scale, method=method, private=private, public=public, epsilon=epsilon, seed=seed, **changes))
badge = displays.badge(run.params)

# %% tags=["raises-exception"]
displays.plan(run.plan)

# %% [markdown]
# ## The step
#
# $$\tilde g_t = \frac{1}{q N} \Big( \sum_{i \in B_t} \mathrm{clip}_C\Big( \frac1K \sum_{k=1}^K \nabla_\theta\, \ell(x_i, y_i; \tau_{ik}, n_{ik}) \Big)
# + \mathcal N(0, \sigma^2 C^2 I) \Big), \qquad i \in B_t \text{ with probability } q$$
#
# where $\tau$ is a noise level of the diffusion ($\sigma$ in notebook 03) and $\sigma$ the plan's noise multiplier; Adam gets $\tilde g_t / C$.
# $K$ noise draws of one record are averaged *before* its one clip (noise multiplicity), so they cost no privacy. $qN$ is
# a constant of the plan. Were the sum divided by the number of records drawn, one record could move it by more than $C/(qN)$. An empty draw
# still takes a noisy step.

# %% tags=["raises-exception"]
source(Private.gradient)

# %% [markdown]
# The sum of what the drawn records give, in which the $K$ views of each are averaged before its one clip:

# %% tags=["raises-exception"]
source(clipped_sum)

# %% [markdown]
# The clip bounds what one record can do. All of a record's parts are scaled by one factor, and to a little below $C$, so that float32's
# rounding cannot pass it; a gradient that is not finite contributes nothing:

# %% tags=["raises-exception"]
source(clip)

# %% tags=["raises-exception"]
source(clip_factors)

# %% [markdown]
# ## What may be watched
#
# Step, epsilon so far, and a time that was estimated on blank images. No loss, no gradient norm, no share of clipped
# records, no batch size, no step time: each is computed from private records and none has noise.

# %% tags=["raises-exception"]
if run.plan.is_private and (minutes := run.expected_minutes()):
    print(f"expected: {displays.minutes(minutes)}, if it was not done before")

# %%
synthesiser = run.synthesiser

# %% [markdown]
# ## The ledger closes
#
# The certificate is computed from the ledger, not from this notebook's hopes: every mechanism that touched the set in
# this run's lineage, with both sensitivities, by the accountant of record (privacy loss distributions) and by the others.

# %%
run_files.write_certificate(run)
# %% tags=["raises-exception"]
displays.certificate(run.certificate)

# %% [markdown]
# In words, which are computed from the same releases:

# %% tags=["raises-exception"]
print(*risk.words(run.certificate), sep="\n")

# %% tags=["raises-exception"]
if run.plan.is_private:
    spent = dict(epsilon_target=run.plan.epsilon, query_epsilon=run.plan.spent(0))
    figures.budget(*planning.spent_along(run.plan), **spent, badge=badge)

# %% [markdown]
# RDP (Rényi DP) is looser than the privacy loss distribution. PRV (privacy loss random variables, composed numerically) is printed as its upper bound, so it can stand
# a hundredth higher, even above the budget. The *classic* RDP conversion is the formula the papers print. Replacing a record instead of adding or removing one
# costs more, up to about twice as much: a table that does not state its neighbours states little.
#
# ## Would anyone notice?
#
# A certificate is a claim. An **audit** attacks it: two thousand canaries, each with a gradient along a direction of its own, are in
# or out of a made-up set by fair coins; an attacker who sees every noisy gradient guesses which were in. Too many right guesses refute the
# claim (Steinke et al. 2023). The canaries pass through the same sampler, clip, noise and divisor as the records above, at an epsilon of 1;
# the second line turns the noise down to a tenth.

# %% tags=["raises-exception"]
displays.audits(audit.both())

# %% [markdown]
# The bound stays far below the claim even where all is well: it holds with 95 percent confidence, and pays for coming from one run. So
# an audit sees gross mistakes in the step, and only there. It would pass noise of nine tenths, a query left out of the
# ledger, or a loss that is printed. Those are for the tests: `make mutants` plants such bugs, and shows which test catches each.
#
# ## First look
#
# Samples are post-processing: they may be drawn and shown without end.

# %% tags=["raises-exception"]
figures.grid(*pictures.preview(run, synthesiser, per_label=12), title="Synthetic images", badge=badge)

# %% [markdown]
# **Try this.** Set `epsilon = 1.0`: ten times less to spend. By how much does the plan's noise multiplier grow, and what does the grid lose? (At any scale; at
# `smoke` the images mean nothing, the plan does.)
