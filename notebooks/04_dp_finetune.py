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

# %% [markdown] tags=["lecture"]
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

# %% tags=["raises-exception", "lecture"]
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

# %% [markdown] tags=["lecture"]
# ## The ledger closes
#
# The certificate is computed from the ledger, not from this notebook's hopes: every mechanism that touched the set in
# this run's lineage, with both sensitivities, by the accountant of record (privacy loss distributions) and by the others.

# %%
run_files.write_certificate(run)
# %% tags=["raises-exception", "lecture"]
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
# costs more, often about twice as much: a table that does not state its neighbours states little.

# %% [markdown] tags=["lecture"]
# ## Would anyone notice?
#
# A certificate is a claim. An **audit** attacks it: two thousand canaries, each with a gradient along a direction of its own, are in
# or out of a made-up set by fair coins; an attacker who sees every noisy gradient guesses which were in. Too many right guesses refute the
# claim (Steinke et al. 2023). The canaries pass through the same sampler, clip, noise and divisor as the records above, at an epsilon of 1;
# the second line turns the noise down to a tenth.

# %% tags=["raises-exception", "lecture"]
displays.audits(audit.both())

# %% [markdown]
# The bound stays far below the claim even where all is well: it holds with 95 percent confidence, and pays for coming from one run. So
# an audit sees gross mistakes in the step, and only there. It would pass noise of nine tenths, a query left out of the
# ledger, or a loss that is printed. Those are for the tests: `make mutants` plants such bugs, and shows which test catches each.

# %% [markdown]
# ## First look
#
# Samples are post-processing: they may be drawn and shown without end.

# %% tags=["raises-exception"]
figures.grid(*pictures.preview(run, synthesiser, per_label=12), title="Synthetic images", badge=badge)

# %% [markdown]
# ## Exercises
#
# Answers are folded, and run in seconds.
#
# **Exercise 1.** $K$ views of a record are averaged, and then clipped once. Two other orders are seen in code: clip each view and then average, or let each view be a record of its own. By how much can
# one record move the sum in each?

# %% tags=["hide-cell", "raises-exception"]
# Averages of vectors no longer than C are no longer than C: the second order is as private, and only another estimate (large views count for
# less). The third lets a record in K times. Under noise for C that is K times too little: `make exercise N=2`.
import torch

from dpsynth.privacy.engine import bounded

C, K = 1.0, 8
views = 3 * torch.nn.functional.normalize(torch.ones(K, 1000))  # the worst record: all its views agree, and are long
orders = {"average, then clip": bounded(views.mean(0, keepdim=True), C)[0].sum(0),
          "clip, then average": bounded(views, C)[0].mean(0), "views as records": bounded(views, C)[0].sum(0)}  # fmt: skip
moved = {name: vector.norm().item() / C for name, vector in orders.items()}
assert moved["average, then clip"] <= 1 and moved["clip, then average"] <= 1 < 0.99 * K < moved["views as records"]
print({name: f"{length:.3f} C" for name, length in moved.items()})

# %% [markdown]
# **Exercise 2.** The sum is divided by $qN$, a constant. Divide it by the number of records that were drawn instead: how far can one record move the mean, if few were drawn?

# %% tags=["hide-cell", "raises-exception"]
# The others all point one way, the record the other way. Noise is made for C / (q N), whatever was drawn: `make exercise N=3`.
C, expected = 1.0, 10
moved = {drawn: abs((drawn * C - C) / (drawn + 1) - C) for drawn in (1, 4, 10, 30)}
assert moved[4] > C / expected
print(f"noise is made for {C / expected:.2f}; drawn: moved by", {drawn: round(by, 2) for drawn, by in moved.items()})

# %% [markdown]
# **Exercise 3.** Spend a tenth: by how much does the noise of DP-SGD grow from $\varepsilon = 10$ to $\varepsilon = 1$, if nothing else is asked?

# %% tags=["hide-cell", "raises-exception"]
# Not tenfold: epsilon of many steps goes about as 1 / sigma where it is small, and much faster where sigma is below 1. In a plan the query is
# paid from the same budget, and its rule gives it more noise too. (Set `epsilon = 1.0` above to see the plan, and what the grid loses.)
from dpsynth.budget import calibration

constants = run.params.private, run.params.constants.n_records
alone = {e: calibration.make_plan(*constants, e, run.params.delta, run.questions[-1:]) for e in (10.0, 1.0)}
loud, louder = (plan.mechanisms[0].noise_multiplier for plan in alone.values())
assert loud < louder < 10 * loud
print(f"noise multiplier {loud:.2f} at epsilon 10, {louder:.2f} at 1: times {louder / loud:.1f}")

# %% [markdown]
# **Exercise 4.** A certificate lies before you, and nothing else. What noise was in each bin of the histogram?

# %% tags=["hide-cell", "raises-exception"]
# Its releases are the ledger's entries, and an entry has the mechanism with all its constants: multiplier times sensitivity, which is the root of
# the votes. So who reads a certificate can price it again (`certificate.json` holds it).
if run.plan.is_private:
    stated = {entry["mechanism"]["name"]: entry["mechanism"] for entry in run.certificate["releases"]}
    query = stated["semantic_histogram"]
    deviation = query["noise_multiplier"] * query["votes"] ** 0.5
    assert abs(deviation - run.plan.mechanism("semantic_histogram").scale) < 1e-9
    print(f"{query['noise_multiplier']:g} x sqrt({query['votes']}) = {deviation:.2f} votes")

# %% [markdown]
# **Exercise 5.** What does the Poisson draw buy? Price the same steps with the same noise, on all records.

# %% tags=["hide-cell", "raises-exception"]
# Who is not drawn leaves no trace, and nobody knows who was drawn. It is not free: the same noise lies on the sum of fewer records, so each
# step says less of the mean gradient. What one pays with is steps, and those compose.
if run.plan.is_private:
    from dataclasses import replace

    from dpsynth.privacy import accounting

    learner = run.plan.mechanism("dp_sgd")
    drawn, every = (accounting.epsilon([replace(learner, sample_rate=q)], run.params.delta, rough=True) for q in (learner.sample_rate, 1.0))
    assert drawn <= every
    print(f"epsilon {drawn:.1f} at rate {learner.sample_rate:g}, {every:.0f} at rate 1: times {every / drawn:.1f} for {1 / learner.sample_rate:g} times as many")
