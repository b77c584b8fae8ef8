"""The table of methods: one choice a stage. To add a method, add a row (and at most one module)."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from pydantic import Field

from dpsynth.fields import Real, Strict
from dpsynth.stages import finetune, pretrain, query, selection


class Touch(NamedTuple):
    """A private column: what it asks, and what that costs.

    `price(p)` of a learner, `price(p, learner's price)` of a release: the mechanisms, not yet calibrated.
    """

    ask: Callable
    price: Callable


class Options(Strict):
    """What every method here lets one choose; each has its own model, and refuses unknown keys."""

    max_grad_norm: Real = Field(0.3, gt=0, lt=1e6, description="clipping norm C")
    average: Real = Field(0.95, ge=0, lt=1, description="rate of the weights' moving average in fine-tuning")
    prediction: Literal["edm", "ddpm"] = Field("edm", description="EDM, or DDPM's epsilon (RPGen's text)")


class Semantic(Options):
    """Options of the methods that ask a semantic histogram."""

    votes: int = Field(5, ge=1, description="votes a record casts, k")
    kept: int = Field(5, ge=1, description="public classes kept, for each row of the histogram")
    mode: Literal["per_class", "global"] = Field("per_class", description="one histogram a private label, or one")
    match: Literal["top_k", "proportional"] = Field("top_k", description="all images of a kept class, or by votes")
    query_noise: Real | None = Field(None, gt=0, description="noise multiplier of the query; by rule if null")


class Adversarial(Semantic):
    """RPGen's options: the query's, and those of adversarial model perturbation."""

    amp_gamma: Real = Field(0.2, ge=0, description="radius of the ball, gamma; 0 turns perturbation off")
    amp_eta: Real = Field(0.4, gt=0, description="inner step size, eta1")
    amp_projection: Literal["global", "per_tensor"] = Field("global", description="one ball, or one a tensor")
    amp_normalise: bool = Field(False, description="perturb by gamma times the unit gradient, as SAM")


class Method(NamedTuple):
    """One row: `encoder`, `corpus` and `base` see public data only; `release` and `learn` are priced."""

    paper: str
    encoder: Callable | None
    release: Touch | None
    corpus: Callable | None
    base: Callable
    learn: Touch
    options: type[Options]


HISTOGRAM = Touch(query.semantic_histogram, query.histogram_price)
DP_SGD = Touch(finetune.dp_sgd, finetune.gradients_price)

METHODS = {
    "rpgen": Method(
        "RPGen (AAAI 2026)",
        query.train_classifier, HISTOGRAM, selection.top_classes, pretrain.train_diffusion, DP_SGD, Adversarial,
    ),
    "privimage_d": Method(
        "PrivImage+D (USENIX Security 2024)",
        query.train_classifier, HISTOGRAM, selection.top_classes, pretrain.train_diffusion, DP_SGD, Semantic,
    ),
    "pdp_diffusion": Method(
        "PDP-Diffusion (Ghalebikesabi et al. 2023)",
        None, None, selection.all_public, pretrain.train_diffusion, DP_SGD, Options,
    ),
    "dpdm": Method("DPDM (TMLR 2023)", None, None, None, pretrain.fresh, DP_SGD, Options),
}  # fmt: skip
