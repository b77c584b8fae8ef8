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
from dpsynth import figures, privacy
from dpsynth.methods import dp_sapf, gans
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.report import audit, displays, results
from dpsynth.stages import dp_sgd, evaluate, planning, pretrain

p = Params.read(globals())
badge = displays.badge(p)
plan = Run(p).plan

# %% tags=["raises-exception"]
displays.plan(plan)

# %% [markdown]
# ## The step
#
# $$\tilde g_t = \frac{1}{q N} \Big( \sum_{i \in B_t} \mathrm{clip}_C\Big( \frac1K \sum_{k=1}^K \nabla_\theta\, \ell(x_i, y_i; \tau_{ik}, n_{ik}) \Big)
# + \mathcal N(0, \sigma^2 C^2 I) \Big), \qquad i \in B_t \text{ with probability } q$$
#
# where $\tau$ is a noise level of the diffusion ($\sigma$ in notebook 03) and $\sigma$ the plan's noise multiplier; Adam gets $\tilde g_t / C$.
# $K$ noise draws of one record are averaged *before* its one clip (noise multiplicity), so they cost no privacy. $qN$ is
# a constant of the plan. Were the sum divided by the number of records drawn, one record could move it by more than $C/(qN)$. An empty draw
# still takes a noisy step. In DPImageBench's code of DP-LoRA the $K = 8$ views were clipped one by one against the noise of one:
# an epsilon of about 1,300 (by RDP, on Fashion-MNIST), reported as 10.
#
# ## What may be watched
#
# Step, epsilon so far, and a time that was estimated on blank images. No loss, no gradient norm, no share of clipped
# records, no batch size, no step time: each is computed from private records and none has noise.

# %%
base = Run(p).base  # of notebook 03

# %% tags=["raises-exception"]
if plan.is_private and (minutes := dp_sgd.expected_minutes(p)):
    print(f"expected: about {minutes:.1f} minutes, if it was not done before")

# %%
synthesiser = Run(p).synthesiser

# %% [markdown]
# ## The ledger closes
#
# The certificate is computed from the ledger, not from this notebook's hopes: every mechanism that touched the set in
# this run's lineage, with both sensitivities, by the accountant of record (privacy loss distributions) and by the others.

# %%
certificate = privacy.certificate(plan, Run(p).ledger, synthesiser.artifact.lineage)
results.write_certificate(p, certificate);

# %% tags=["raises-exception"]
displays.certificate(certificate)

# %% tags=["raises-exception"]
if plan.is_private:
    spent = dict(epsilon_target=plan.epsilon, query_epsilon=plan.spent(0))
    figures.budget(*planning.path(plan), **spent, badge=badge)

# %% [markdown]
# RDP (Rényi DP) is looser than the privacy loss distribution. PRV (privacy loss random variables, composed numerically) is printed as its upper bound, so it can stand a hundredth higher, even above
# the budget. The *classic* RDP conversion is the formula the papers print. Replacing a record instead of adding or removing one
# costs more, up to about twice as much: a table that does not state its neighbours states little.
#
# ## Would anyone notice?
#
# A certificate is a claim. An **audit** attacks it: two thousand canaries, each with a gradient along a direction of its own, are in
# or out of a made-up set by fair coins; an attacker who sees every noisy gradient guesses which were in. Too many right guesses refute the
# claim (Steinke et al. 2023). The canaries pass through the same sampler, clip, noise and divisor as the records above, at an epsilon of 1;
# the second line turns the noise down to a tenth.

# %% tags=["raises-exception"]
displays.audits([audit.run(), audit.run(noise=0.1)])

# %% [markdown]
# The bound stays far below the claim even where all is well: it holds with 95 percent confidence, and pays for coming from one run. So
# an audit sees gross mistakes in the step, and only there. It would pass noise of nine tenths, a query left out of the
# ledger, or a loss that is printed. Those are for the tests: `make mutants` plants such bugs, and shows which test catches each.
#
# ## First look
#
# Samples are post-processing: they may be drawn and shown without end.

# %% tags=["raises-exception"]
figures.grid(*evaluate.preview(synthesiser, p, per_label=12), title="Synthetic images", badge=badge)

# %% [markdown]
# ## Other methods: which weights learn
#
# From here on it is about the other methods' learning; where a cell shows nothing, it is not this run's.
#
# Noise is added to every weight that learns, but the clipped gradient has norm at most $C$ however many they are. DP-LDM
# (Lyu et al. 2023) therefore trains the attention's projections and the label embedding alone. `trainable: light` is the form of DPImageBench, which
# adds the layers of the noise level and the first convolution; here on codes as on pixels.

# %% tags=["raises-exception"]
if "trainable" in p:
    figures.trainable(dp_sgd.shares(p), badge=badge)

# %% [markdown]
# DP-SAPF asks the records which matrices to train. A probe at the base takes each record's gradient $g_i$, clipped to $C$ over all weights,
# and releases for each matrix $m$
#
# $$\tilde s_m = \frac1N \Big( \sum_i \frac{\lVert \mathrm{clip}_C(g_i)_m \rVert_F^2}{C^2} + \mathcal N(0, \sigma_s^2) \Big).$$
#
# A record's scores are not negative and sum to at most 1, so their vector has norm at most 1. (With `score: votes` a record votes for its
# $v$ largest matrices, sensitivity $\sqrt v$.) The top share (`share`) learns, beside the labels' table and nothing else: as adapters $W + UV$ of rank 4, with $U$ zero
# at first, or whole with `low_rank: false`, as in `make table1`. The probe is in the plan, as any other touch.

# %% tags=["raises-exception"]
if (found := dp_sapf.chosen(p)) is not None:
    said, chosen = found
    figures.saliency(said.scores, said.names, chosen, said.scale, badge=badge)
else:
    print("no saliency was asked in this run")

# %% [markdown]
# ## Other methods: learning without a denoiser
#
# Five methods learn in another way; the plan at the top says which touch is theirs.
#
# **GANs** (`dpgan`, `dpgan_p`, `privimage_g`; Xie et al. 2018, PrivImage Sec. 4.2). A discriminator $D$ and a generator $G$
# play with hinge losses (Brock et al. 2019, App. C), and only $D$ meets records, by DP-SGD:
#
# $$\tilde g_t = \frac1{qN}\Big(\sum_{i\in B_t}\mathrm{clip}_C\,\nabla [1 - D(x_i, y_i)]_+ + \mathcal N(0, \sigma^2 C^2 I)\Big)
# + \frac1M \sum_{j=1}^M \mathrm{clip}_C\,\nabla [1 + D(G(z_j, y_j), y_j)]_+, \qquad M = \mathrm{round}(qN).$$
#
# The number of fakes $M$ is a constant. PrivImage's code takes as many fakes as records were drawn, and clips each: one record more
# then brings one fake more, and moves the sum by $2C$ where the accounting has $C$. $G$ descends $-D(G(z, y), y)$ on a copy of $D$,
# which is post-processing. After each step every map of $D$ is scaled down to unit spectral norm (Miyato et al. 2018 do it within the forward), which
# reads released weights alone; without it, $D$ soon tells fakes by one pixel and $G$ draws one image a label. Below: the expected norm of a step's noise over the largest norm that the averaged clipped gradient can have. The
# noise grows with the square root of the number of weights, so a small discriminator helps.

# %% tags=["raises-exception"]
ratios = gans.noise_to_signal(p)
if ratios:
    figures.noise_to_signal(*ratios, badge=badge)

# %% [markdown]
# **DP-MEPF** (`dp_mepf`; Harder et al. 2023, Sec. 3) asks once for the mean embedding of features $\phi$ of a public network (our encoder, or
# ImageNet's VGG-19 where `vgg19` names a file of its weights), joint with the label, and trains a generator until its own is the same:
#
# $$\tilde\mu = \frac1N \Big(\sum_i \frac{\phi(x_i)}{\lVert\phi(x_i)\rVert} \otimes e_{y_i} + \mathcal N(0, \sigma^2 \Delta^2 I)\Big),
# \qquad \min_G \Big\lVert \tilde\mu - \mathbb E_{z, y}\, \frac{\phi(G(z, y))}{\lVert\phi(G(z, y))\rVert} \otimes e_y \Big\rVert^2.$$
#
# A record adds one unit vector in the row of its label, so $\Delta = 1$ for the sum; with `moments: 2` it adds the squares too, as a second
# unit vector, and $\Delta = \sqrt2$. $N$ is declared: the published code divides each class by its own count, which is private. The dashed line
# is what noise alone leaves of the gap; a generator that comes below it has begun to draw the noise.

# %% tags=["raises-exception"]
if "gap" in synthesiser.curves:
    figures.matching(synthesiser.curves["gap"], synthesiser.curves["noise"], badge=badge)

# %% [markdown]
# **DPSDA** (`dpsda`; Lin et al. 2024, Algorithms 1 and 2) trains nothing. In each iteration every record votes for the candidate of
# its own label that is nearest to it in the query function's features; the histogram gets discrete Gaussian noise, loses a
# threshold $H$, and candidates are drawn in proportion to what is left, and varied:
#
# $$\tilde h_{y,j} = \sum_{i:\,y_i=y} \mathbb 1\Big[j = \arg\min_k \lVert f(x_i) - \bar f_{y,k} \rVert\Big] + \mathcal N_{\mathbb Z}(0, \sigma^2),
# \qquad p_{y,j} \propto [\tilde h_{y,j} - H]_+,$$
#
# where $\bar f_{y,k}$ is the mean of $f$ over `lookahead` variations of candidate $k$ (with 0, $f$ of the candidate itself). One vote a record: sensitivity 1, and $T$ histograms compose exactly. A candidate is varied by noising it to a level that falls from iteration
# to iteration and denoising it; with `api: glyphs`, by another hand of the same character. The rows under *Along the way* show it: the shapes
# come from public data, and the votes choose among them.

# %% [markdown]
# ### Along the way
#
# What a method that keeps such pictures drew while it learned (GANs and DP-MEPF: from the same latents; DPSDA: the candidates with
# most noisy votes). All of it is post-processing of what was released. Methods that keep none show nothing here.

# %% tags=["raises-exception"]
if synthesiser.snapshots:
    figures.progress(synthesiser.snapshots, badge=badge)

# %% [markdown]
# **Try this.** Halve `epsilon` and run again. If the plan still has the query at its least noise, 4, DP-SGD pays for the whole difference: by how
# much does its noise multiplier grow?
