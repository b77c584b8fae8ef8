"""What each method lets one choose: one frozen model a method, which refuses unknown keys."""

from typing import Annotated, Literal

from pydantic import Field

from dpsynth.fields import Real, Strict
from dpsynth.models.trainable import Trainable

# What the accountant can compose and the discrete Gaussian can draw; none if left to the rule of the plan.
Noise = Annotated[Real, Field(ge=0.05, le=1e5)] | None


class Options(Strict):
    """What every method lets one choose; each has its own model, and refuses unknown keys."""

    prior: Literal["uniform", "noisy"] = Field("uniform", description="labels of samples: public, or released once")


class Diffusion(Options):
    """Options of the methods that fine-tune a denoiser."""

    max_grad_norm: Real = Field(0.3, ge=1e-6, lt=1e6, description="clipping norm C")
    average: Real = Field(0.95, ge=0, lt=1, description="rate of the weights' moving average in fine-tuning")
    prediction: Literal["edm", "ddpm"] = Field("edm", description="EDM, or DDPM's epsilon (RPGen's text)")


class Fixed(Diffusion):
    """Options of the methods that fine-tune all of a denoiser, or a fixed part of it."""

    trainable: Trainable = Field("all", description="all weights, or light: attention, labels, time, first conv")


class Conditional(Options):
    """The option of all methods that pre-train."""

    conditional: bool = Field(True, description="pre-train with the corpus's labels, or as if all were of one class")


class Pretrained(Fixed, Conditional):
    """Options of the methods that fine-tune a pre-trained denoiser."""


class Light(Pretrained):
    """DP-LDM's options: fewer weights learn, on pixels or on codes."""

    trainable: Trainable = Field("light", description="all weights, or light: attention, labels, time, first conv")
    latent: bool = Field(False, description="diffusion on the codes of a public autoencoder")


class Salient(Diffusion, Conditional):
    """DP-SAPF's options: how matrices are scored, which are chosen, and what of them learns."""

    attention: Literal["middle", "every"] = Field("every", description="attention at one place, or at three")
    convolutions: bool = Field(False, description="convolutions' kernels are candidates too")
    choice: Literal["saliency", "random", "all"] = Field("saliency", description="which matrices learn")
    score: Literal["sq_norm", "votes"] = Field("sq_norm", description="squared gradient norms, or votes")
    saliency_votes: int = Field(3, ge=1, le=10**5, description="votes a record casts, for score: votes")
    saliency_noise: Noise = Field(None, description="noise multiplier of the probe; by rule if null")
    unit: Literal["matrix", "layer"] = Field("matrix", description="choose matrices, or whole blocks of them")
    share: Real = Field(0.3, gt=0, le=1, description="share of the matrices, or blocks, that is chosen")
    low_rank: bool = Field(True, description="adapters of rank 4, or the whole matrices")


class Featured(Pretrained):
    """DP-FETA's options: what the denoiser is warmed up on."""

    warmup: Literal["none", "central", "public"] = Field("central", description="what the base is trained on")
    centre: Literal["mean", "mode"] = Field("mean", description="the central image of a label")
    central_noise: Noise = Field(None, description="noise multiplier of the images; by rule if null")


class Voting(Options):
    """Options of the semantic histogram, and of the selection by it."""

    votes: int = Field(5, ge=1, le=10**5, description="votes a record casts, k")
    kept: int = Field(5, ge=1, le=10**5, description="public classes kept, for each row of the histogram")
    mode: Literal["per_class", "global"] = Field("per_class", description="one histogram a private label, or one")
    match: Literal["top_k", "proportional"] = Field("top_k", description="all images of a kept class, or by votes")
    query_noise: Noise = Field(None, description="noise multiplier of the query; by rule if null")


class Semantic(Pretrained, Voting):
    """Options of the methods that fine-tune a denoiser after a semantic histogram."""


class Adversarial(Semantic):
    """RPGen's options: the query's, and those of adversarial model perturbation."""

    amp_gamma: Real = Field(0.2, ge=0, lt=1e6, description="radius of the ball, gamma; 0 turns perturbation off")
    amp_eta: Real = Field(0.4, gt=0, lt=1e6, description="inner step size, eta1")
    amp_projection: Literal["global", "per_tensor"] = Field("global", description="one ball, or one a tensor")
    amp_normalise: bool = Field(False, description="perturb by gamma times the unit gradient, as SAM")


class Gan(Options):
    """Options of DP-SGD on a discriminator; they stand in the place of `learning_rate` and `noise_multiplicity`."""

    max_grad_norm: Real = Field(0.3, ge=1e-6, lt=1e6, description="clipping norm C, of the discriminator's gradients")
    discriminator_rate: Real = Field(1e-3, gt=0, lt=1, description="Adam, the discriminator's private steps")
    generator_rate: Real = Field(5e-4, gt=0, lt=1, description="Adam, the generator's steps beside them")
    turn: int = Field(1, ge=1, le=10**6, description="private steps between the generator's turns")
    generator_steps: int = Field(1, ge=1, le=10**4, description="steps of the generator in a turn: post-processing")
    average: Real = Field(0.95, ge=0, lt=1, description="rate of the generator's moving average")


class PublicGan(Gan, Conditional):
    """Options of the GANs that are pre-trained on public images."""

    public_rate: Real = Field(5e-4, gt=0, lt=1, description="Adam, both networks in pre-training")
    public_turn: int = Field(
        1, ge=1, le=10**6, description="discriminator's steps for each of the generator's in pre-training"
    )


class SemanticGan(PublicGan, Voting):
    """PrivImage+G's options: the query's, and the GAN's."""


class Moments(Options):
    """DP-MEPF's options."""

    vgg19: str | None = Field(None, description="file of VGG-19's weights: its features in place of our encoder's")
    moments: int = Field(1, ge=1, le=2, description="1: mean embedding of the features; 2: of their squares too")
    matching_steps: int = Field(20, ge=1, le=10**8, description="steps of the generator towards the release")
    matching_rate: Real = Field(1e-3, gt=0, lt=1, description="Adam, at its peak")
    average: Real = Field(0.98, ge=0, lt=1, description="rate of the generator's moving average")


class Evolution(Conditional):
    """DPSDA's options."""

    api: Literal["diffusion", "glyphs"] = Field("diffusion", description="candidates of the denoiser, or rendered")
    iterations: int = Field(3, ge=1, le=10**4, description="histograms of votes, T")
    candidates: int = Field(20, ge=2, le=10**6, description="population of each private label")
    lookahead: int = Field(
        2, ge=0, le=1000, description="variations whose mean embedding stands for a candidate; 0: itself"
    )
    threshold: Real = Field(1.0, ge=0, lt=1e6, description="taken from every count, in deviations of the noise")
    prediction: Literal["edm", "ddpm"] = Field("edm", description="of the denoiser, as for the methods that share it")
