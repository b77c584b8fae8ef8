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
# # 00 · Ten minutes of differential privacy and diffusion
#
# *What is promised, and what is learned.* For a reader who knows probability and a little deep learning; who knows both subjects may begin with
# notebook 01. Everything here is made up or public: no private record is asked, and no ledger is written.

# %% tags=["parameters"]
noise_multiplier = 2.0  # standard deviation of the noise, in units of the sensitivity
delta = 1e-5  # a probability that the promise leaves out
steps = 100  # releases
rate = 0.1  # the probability with which a release draws each record
seed = 0  # of noise and of network weights

# %%
from math import erf, exp, sqrt

import pandas as pd
import torch

from dpsynth import figures
from dpsynth.models import diffusion, networks, pixels
from dpsynth.privacy import Sums, accounting
from dpsynth.report.source import source

badge = f"made-up numbers and public images, of no run | seed {seed}"

# %% [markdown] tags=["lecture"]
# ## The promise
#
# A randomised algorithm $M$ maps a data set to an answer. Two data sets are **neighbours**, $D \sim D'$, if one is the other with one record added or removed.
# $M$ is $(\varepsilon, \delta)$-**differentially private** (Dwork and Roth 2014) if for all neighbours and all sets $S$ of answers
#
# $$\Pr[M(D) \in S] \;\le\; e^{\varepsilon}\, \Pr[M(D') \in S] + \delta.$$
#
# The promise is about $M$, not about one answer, and holds whatever an attacker knows of all the other records. Nobody's image changes by much what can be published.
# Two things follow at once. **Post-processing**: any function of the answer, if it does not look at the data again, is as private as the answer. **Composition**: two
# answers, $(\varepsilon_1, \delta_1)$ and $(\varepsilon_2, \delta_2)$, are together at worst $(\varepsilon_1 + \varepsilon_2, \delta_1 + \delta_2)$.
# Some authors *replace* a record instead. That is a removal and an addition, and costs more: of one Gaussian answer more than twice as much (exercise 2).

# %% [markdown] tags=["lecture"]
# ## What epsilon buys an attacker
#
# A record is in the set or not, by a fair coin. The attacker knows everything else, sees the answer, and guesses. Write $p$ for the probability that she says "in" when it is,
# $p'$ when it is not. The promise says $p \le e^\varepsilon p' + \delta$, and of "out" $1 - p' \le e^\varepsilon (1 - p) + \delta$. Added up, her success is at most
#
# $$\frac{p + (1 - p')}{2} \;\le\; \frac{e^\varepsilon + \delta}{1 + e^\varepsilon}.$$

# %% tags=["raises-exception", "lecture"]
best = {epsilon: (exp(epsilon) + delta) / (1 + exp(epsilon)) for epsilon in (0.1, 1, 5, 10)}
words = ["a coin", "right three times in four, at best", "nearly sure, at best", "no promise about a guess"]
pd.DataFrame({"best success": [f"{p:.3%}" for p in best.values()], "in words": words}, index=best.keys()).rename_axis("epsilon")

# %% [markdown]
# At $\varepsilon = 10$, a usual number in this field, the promise alone excludes little. It is a bound for the worst record, the best attacker and the worst mechanism that meets it;
# measured attacks do far less well (notebook 04 mounts one). Who needs an argument that does not rest on attacks spends less.

# %% [markdown] tags=["lecture"]
# ## The Gaussian mechanism
#
# A question $g$ with numbers for answers has **sensitivity** $\Delta = \max_{D \sim D'} \lVert g(D) - g(D') \rVert_2$: the most that one record can move it. Publish
#
# $$M(D) = g(D) + \mathcal N(0, \sigma^2 \Delta^2 I),$$
#
# where $\sigma$ is the **noise multiplier**. Seen along the line from $g(D')$ to $g(D)$, and in units of $\Delta$, the attacker tells $\mathcal N(1, \sigma^2)$ from
# $\mathcal N(0, \sigma^2)$. All that an answer $x$ tells her is its **privacy loss**, the logarithm of the ratio of the two densities, here $(2x - 1) / (2\sigma^2)$.

# %% tags=["raises-exception", "lecture"]
once = Sums("one answer", bound=1.0, noise_multiplier=noise_multiplier, divisor=1.0)
epsilon = accounting.epsilon([once], delta)
print(f"epsilon {epsilon:.2f} at delta {delta:g}, {accounting.ADJACENCY}")
figures.densities(noise_multiplier, epsilon=0.5, badge=badge)

# %% [markdown]
# No finite $\varepsilon$ bounds a loss that is a straight line. That is what $\delta$ is for: $M$ is $(\varepsilon, \delta)$-private where
# $\mathbb E_{x \sim M(D)}\big[(1 - e^{\varepsilon - \mathrm{loss}(x)})_+\big] \le \delta$, and the other way round. The tail beyond $\varepsilon$, shaded for 0.5, carries it.

# %% [markdown] tags=["lecture"]
# ## Composition
#
# Losses of independent answers add up, so the loss of $T$ answers has a mean of $T$ times one's but a deviation of $\sqrt T$ times. An accountant that convolves the
# **privacy loss distributions** (PLD) sees that. Who adds up the epsilons does not. (Here each answer has ten times the noise of before.)

# %% tags=["raises-exception", "lecture"]
counts = [1, 3, 10, 30, 100, 300]
composed = [accounting.epsilon([Sums("answers", 1.0, 10 * noise_multiplier, 1.0, steps=n)], delta) for n in counts]
added = [n * accounting.epsilon([Sums("answers", 1.0, 10 * noise_multiplier, 1.0)], delta / n) for n in counts]
figures.composition(counts, composed, added, delta=delta, badge=badge)

# %% [markdown] tags=["lecture"]
# ## Subsampling
#
# DP-SGD draws each record with probability $q$, by a coin of its own (*Poisson sampling*), at each step. A record that was not drawn cannot be seen, and nobody knows which were. The attacker now tells
# $(1 - q)\, \mathcal N(0, \sigma^2) + q\, \mathcal N(1, \sigma^2)$ from $\mathcal N(0, \sigma^2)$. Over so many steps the draw costs less than $q$ times what all records would; in
# one step alone it may cost more than that.

# %% tags=["raises-exception", "lecture"]
rates = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0]
of_rate = [accounting.epsilon([Sums("steps", 1.0, noise_multiplier, 1.0, sample_rate=q, steps=steps)], delta) for q in rates]
figures.subsampling(rates, of_rate, delta=delta, badge=badge)

# %% [markdown]
# That is all the privacy that RPGen uses: one noisy histogram, then many noisy, subsampled sums of gradients, composed.

# %% [markdown] tags=["lecture"]
# ## Diffusion, forwards
#
# A diffusion model learns to undo noise. The **forward process** takes an image $x_0$ to noise in $T$ steps, $x_t \mid x_{t-1} \sim \mathcal N(\sqrt{1 - \beta_t}\, x_{t-1}, \beta_t I)$.
# With $\bar\alpha_t = \prod_{s \le t} (1 - \beta_s)$ and $\epsilon \sim \mathcal N(0, I)$, it can be had in one step, and divided by $\sqrt{\bar\alpha_t}$ it is the image under noise of one level $\sigma_t$:
#
# $$x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\;\epsilon, \qquad \frac{x_t}{\sqrt{\bar\alpha_t}} = x_0 + \sigma_t\, \epsilon, \qquad \sigma_t^2 = \frac{1 - \bar\alpha_t}{\bar\alpha_t}.$$

# %%
from dpsynth.data import catalog

public = catalog.public("glyphs_without_digits", 1, 28)
image = public.images[public.labels == public.classes.index("R")][:1]
x = pixels.scaled(image).repeat(8, 1, 1, 1)  # eight times one image, in [-1, 1]
bars = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)  # of the linear schedule (Ho et al. 2020)

# %% tags=["raises-exception", "lecture"]
t = torch.tensor([0, 20, 60, 120, 200, 350, 550, 799])
noise = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(seed))
along = bars[t].sqrt()[:, None, None, None] * x + (1 - bars[t]).sqrt()[:, None, None, None] * noise
captions = [f"sigma {((1 - bars[n]) / bars[n]).sqrt():.2g}" for n in t]
figures.grid(pixels.to_bytes(along), captions=captions, title="An image along the forward process", badge=badge)

# %% [markdown] tags=["lecture"]
# ## What is learned: RPGen's Eq. 2
#
# A network $e_\theta$ sees $x_t$ and $t$, and says which noise was added (Ho et al. 2020; RPGen, Eq. 2):
#
# $$\mathcal L_\text{DM}(\theta) = \mathbb E_{t, x_0, \epsilon}\, \lVert \epsilon - e_\theta(x_t, t) \rVert^2.$$
#
# Who can say the noise can take some of it away; to draw an image is to start at noise and do so in small steps.

# %% [markdown] tags=["lecture"]
# ## The same in other clothes
#
# EDM (Karras et al. 2022) knows no $t$ and no $\bar\alpha$, only the noise level, and speaks of the *denoiser* $D(x; \sigma)$, which says the clean image. Let $\tilde x = x_0 + \sigma \epsilon$. With
# $D = \tilde x - \sigma e_\theta$ and weight $1/\sigma^2$, Eq. 2 is a loss of a denoiser, as $D - x_0 = \sigma (\epsilon - e_\theta)$ and so
#
# $$\frac{1}{\sigma^2} \lVert D - x_0 \rVert^2 = \lVert \epsilon - e_\theta \rVert^2.$$

# %% [markdown] tags=["lecture"]
# ## EDM's own denoiser
#
# EDM's mixes its input with a network $F$ so that what $F$ sees, and what it must say, has variance 1 at every noise level. With $s$ for the deviation of the data,
#
# $$D = \frac{s^2}{\sigma^2 + s^2}\, \tilde x + \frac{\sigma s}{\sqrt{\sigma^2 + s^2}}\, F\Big(\frac{\tilde x}{\sqrt{\sigma^2 + s^2}};\, \sigma\Big), \qquad
# \lambda(\sigma) = \frac{\sigma^2 + s^2}{(\sigma s)^2}.$$

# %% [markdown] tags=["lecture"]
# ## One estimate, two weights
#
# Any denoiser implies an estimate of the noise, $e = (\tilde x - D) / \sigma$. In its terms, and in those of $F$,
#
# $$\lambda(\sigma) \lVert D - x_0 \rVert^2 \;=\; \Big(1 + \frac{\sigma^2}{s^2}\Big) \lVert \epsilon - e \rVert^2 \;=\; \lVert F - F^\star \rVert^2, \qquad
# F^\star = \frac{\sigma x_0 - s^2 \epsilon}{s \sqrt{\sigma^2 + s^2}}.$$
#
# So EDM's loss and Eq. 2 are both the error of one estimate of the noise. They differ in the weight of a noise level and in how often it is drawn. At small $\sigma$ the target $F^\star$ is
# the noise (with a minus), at large $\sigma$ the image.

# %% [markdown]
# The package has both under one name; its loss is a mean over pixels where the formula has a sum:

# %% tags=["raises-exception"]
source(diffusion.loss)

# %% [markdown]
# A check on one network with random weights: the package's loss beside Eq. 2 as printed, from $x_t$ and $\bar\alpha_t$ alone, with the same draws.

# %%
model = networks.initial(dict(network="denoiser", channels=1, size=28, n_labels=1, width=8, prediction="ddpm"), seed)
for weight in model.parameters():  # some are zero at first, which would hide what they do
    weight.data += 0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
draws = lambda: diffusion.PublicDraws(torch.Generator().manual_seed(seed), len(x))
null, again = torch.full((len(x),), model.null), draws()
noise, _, t = again.normal(*x.shape[1:]), again.uniform(), (again.uniform() * 1000).long()

# %% tags=["raises-exception"]
bar = bars[t][:, None, None, None]
x_t, sigma = bar.sqrt() * x + (1 - bar).sqrt() * noise, ((1 - bars[t]) / bars[t]).sqrt()
with torch.no_grad():
    printed = (noise - model.F(x_t, sigma, null)).square().mean((1, 2, 3))
    package = diffusion.loss(model, "ddpm", model.null, x, null, draws())
torch.testing.assert_close(package, printed, rtol=2e-3, atol=1e-5)
pd.DataFrame({"sigma": sigma, "Eq. 2": printed, "diffusion.loss": package}).round(4)

# %% [markdown]
# And EDM's, by the estimate of the noise that its denoiser implies:

# %%
model.prediction, again = "edm", draws()
noise, _, sigma = again.normal(*x.shape[1:]), again.uniform(), (diffusion.P_MEAN + diffusion.P_STD * again.normal()).exp()

# %% tags=["raises-exception"]
s, level = diffusion.SIGMA_DATA, sigma[:, None, None, None]
with torch.no_grad():
    implied = (x + level * noise - model(x + level * noise, sigma, null)) / level
    package = diffusion.loss(model, "edm", model.null, x, null, draws())
weighted = (1 + sigma**2 / s**2) * (noise - implied).square().mean((1, 2, 3))
torch.testing.assert_close(package, weighted, rtol=2e-3, atol=1e-5)
pd.DataFrame({"sigma": sigma, "error of ε": weighted / (1 + sigma**2 / s**2), "weighted": weighted, "diffusion.loss": package}).round(4)

# %% [markdown]
# What remains of the difference, in one figure: how often a noise level is drawn, and what an error of the noise counts there.

# %% tags=["raises-exception", "lecture"]
sigmas = torch.logspace(-2, 2, 60)
levels = {
    "Eq. 2 (DDPM)": ((1 - bars) / bars).sqrt(),
    "EDM, as here": (diffusion.P_MEAN + diffusion.P_STD * torch.randn(4000, generator=torch.Generator().manual_seed(seed))).exp(),
}
weights = {"Eq. 2 (DDPM)": torch.ones(60), "EDM, as here": 1 + sigmas**2 / s**2}
figures.weighting(levels, weights, sigma=sigmas, badge=badge)

# %% [markdown]
# Labels are one more input of the network; a tenth of them is hidden in training. DP-SGD, in notebook 04, takes the gradient of exactly this loss for each private image.
#
# ## Exercises
#
# Answers are folded, and run in seconds.
#
# **Exercise 1.** The bound on the attacker's success is for the worst mechanism that meets the promise. What is her success against *the Gaussian mechanism* above, with its own
# noise multiplier?

# %% tags=["hide-cell", "raises-exception"]
# The best guess is "in" where the loss is positive, that is where x > 1/2. She is right with probability Phi(1 / (2 sigma)), whichever the
# coin was. The epsilon at delta = 1e-5 speaks of much rarer answers than the typical one, and so promises less than what holds on average.
success = (1 + erf(1 / (2 * noise_multiplier) / sqrt(2))) / 2
promised = (exp(epsilon) + delta) / (1 + exp(epsilon))
assert 0.5 < success < promised
print(f"{success:.1%} of guesses are right; epsilon {epsilon:.2f} alone promises at most {promised:.1%}")

# %% [markdown]
# **Exercise 2.** Your colleague's neighbours are data sets in which one record is *replaced*. By how much can that move a sum of vectors of length at most 1? What is his epsilon, for
# the same answer?

# %% tags=["hide-cell", "raises-exception"]
# One vector leaves and another comes, up to the opposite one: 2 in place of 1. It is the same answer, with the same noise; only the
# relation that is priced is another. Two epsilons of different relations must never stand in one column.
replaced = accounting.epsilon([once], delta, replace=True)
assert once.sensitivity_replace == 2 * once.sensitivity and replaced > 2 * epsilon
print(f"epsilon {epsilon:.2f} if a record is added or removed, {replaced:.2f} if one is replaced")

# %% [markdown]
# **Exercise 3.** A histogram gets noise, rounded to whole numbers. Before it is published, each count is divided by the exact number of records: shares read better. Is that
# post-processing?

# %% tags=["hide-cell", "raises-exception"]
# No: the divisor looks at the data again. Whole numbers over N are multiples of 1/N, so the shares tell N itself, without noise.
from fractions import Fraction
from math import lcm

noisy, records = [312, 205, 119, 58, 7], 701
shares = [count / records for count in noisy]
read = lcm(*(Fraction(share).limit_denominator(10_000).denominator for share in shares))
assert read == records
print(f"read from five published shares: {read} records")

# %% [markdown]
# **Exercise 4.** At which noise level is EDM's target $F^\star$ made of image and noise in equal parts? What would an $e_\theta$ of Eq. 2 have to be good at, to be of use at
# $\sigma = 80$?

# %% tags=["hide-cell", "raises-exception"]
# The image's part of the target has deviation sigma s / (s sqrt(sigma^2 + s^2)), the noise's s^2 / (s sqrt(sigma^2 + s^2)): equal at sigma = s.
# An error of e counts sigma times in D = x - sigma e: at sigma = 80, an error of 1 percent in e is 0.8 in an image whose range is 2.
# So EDM makes the network say the image there, and lets the noise be.
grid = torch.linspace(0.1, 2, 1901)
equal = grid[(grid * s - s**2).abs().argmin()].item()  # both deviations, times s sqrt(sigma^2 + s^2)
assert abs(equal - s) < 1e-3
print(f"equal at sigma = {equal:.3f}, and the deviation of the data is {s:.3f}; at sigma = 80 an error of 0.01 in e moves D by {80 * 0.01:.1f}")
