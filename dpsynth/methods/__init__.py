"""The table of methods: one choice a stage. To add a method, add a row (and at most one module)."""

from collections.abc import Callable
from typing import Any, NamedTuple

from dpsynth.methods import dp_feta, dp_ldm, dp_mepf, dp_sapf, dpsda, gans
from dpsynth.methods.options import (
    Adversarial,
    Evolution,
    Featured,
    Fixed,
    Gan,
    Light,
    Moments,
    Options,
    Pretrained,
    PublicGan,
    Salient,
    Semantic,
    SemanticGan,
)
from dpsynth.stages import dp_sgd, label_prior, pretrain, query, selection  # fmt: skip


class Touch(NamedTuple):
    """A private column: what it asks, and what that costs.

    `name`: of its mechanism in the plan. `ask(work, ..., allowance, *, ...)`: its arguments before `allowance` are
    those of `private`, `encoder`, `corpus`, `release`, `base`, `probe` that it needs; its return annotation is the
    type of its artifact. `price(p)` of a learner, `price(p, learner's price)` of any other: a list of one mechanism,
    not yet calibrated. `exact`: the same without noise, for the non-private twin; none, if the method has no twin.
    `minutes(p)`: what a learner should take, estimated without the records.
    """

    name: str
    ask: Callable
    price: Callable
    exact: Callable | None = None
    minutes: Callable | None = None


class Method(NamedTuple):
    """One row: `encoder`, `corpus` and `base` see public data and earlier releases; the others are priced.

    `probe` asks the private records through the base, before learning; `prior` asks for the labels' frequencies.
    """

    paper: str
    encoder: Callable | None
    release: Touch | None
    corpus: Callable | None
    base: Callable
    learn: Touch
    options: type[Options]
    probe: Touch | None = None
    prior: Touch | None = None


HISTOGRAM = Touch("semantic_histogram", query.semantic_histogram, query.histogram_price, query.exact_histogram)
CENTRAL = Touch("central_images", dp_feta.central_images, dp_feta.price)
LABELS = Touch("label_histogram", label_prior.label_histogram, label_prior.price)
DP_SGD = Touch(
    "dp_sgd", dp_sgd.dp_sgd, dp_sgd.gradients_price, dp_sgd.without_privacy, dp_sgd.dp_sgd_minutes
)  # fmt: skip
PROBE = Touch("saliency", dp_sapf.probe, dp_sapf.probe_price)
ON_CHOSEN = Touch("dp_sgd", dp_sapf.dp_sgd_on_chosen, dp_sgd.gradients_price, minutes=dp_sapf.minutes)

DISCRIMINATOR = Touch("dp_sgd", gans.dp_gan, gans.discriminator_price)
EMBEDDING = Touch("mean_embedding", dp_mepf.match_moments, dp_mepf.embedding_price)
EVOLUTION = Touch("nearest_votes", dpsda.evolve, dpsda.votes_price)

GIVEN = object()  # any value but null
# What an option changes in the row of a method that has it: option -> value -> columns.
VARIANTS: dict[str, dict[Any, dict[str, Any]]] = {
    "prior": {"noisy": {"prior": LABELS}},
    "api": {"glyphs": {"corpus": None, "base": dpsda.renderer}},
    "choice": {"random": {"probe": None}, "all": {"probe": None}},
    "warmup": {
        "none": {"release": None, "corpus": None, "base": pretrain.fresh},
        "public": {"release": None, "corpus": selection.all_public},
    },
    "vgg19": {GIVEN: {"encoder": dp_mepf.read_vgg}},
    "latent": {True: {"encoder": dp_ldm.train_autoencoder, "base": dp_ldm.train_latent}},
}


def row(method: str, options: Options) -> Method:
    """The method's row of the table, as its options have it."""
    found = METHODS[method]
    for option, cases in VARIANTS.items():
        value = getattr(options, option, None)
        case = GIVEN if GIVEN in cases and value is not None else value
        found = found._replace(**cases.get(case, {}))
    return found


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
        None, None, selection.all_public, pretrain.train_diffusion, DP_SGD, Pretrained,
    ),
    "dpdm": Method("DPDM (TMLR 2023)", None, None, None, pretrain.fresh, DP_SGD, Fixed),
    "dp_ldm": Method(
        "DP-LDM (Lyu et al. 2023)", None, None, selection.all_public, pretrain.train_diffusion, DP_SGD, Light
    ),
    "dp_sapf": Method(
        "DP-SAPF (USENIX Security 2026)",
        None, None, selection.all_public, pretrain.train_diffusion, ON_CHOSEN, Salient, probe=PROBE,
    ),
    "dp_feta": Method(
        "DP-FETA (IEEE S&P 2025)",
        None, CENTRAL, dp_feta.central_corpus, pretrain.train_diffusion, DP_SGD, Featured,
    ),
    "dpgan": Method("DPGAN (Xie et al. 2018)", None, None, None, gans.fresh_gan, DISCRIMINATOR, Gan),
    "dpgan_p": Method(
        "DPGAN-p (Xie et al. 2018, pre-trained; PrivImage Sec. 4.2)",
        None, None, selection.all_public, gans.train_gan, DISCRIMINATOR, PublicGan,
    ),
    "privimage_g": Method(
        "PrivImage+G (USENIX Security 2024)",
        query.train_classifier, HISTOGRAM, selection.top_classes, gans.train_gan, DISCRIMINATOR, SemanticGan,
    ),
    "dp_mepf": Method(
        "DP-MEPF (TMLR 2023)",
        query.train_classifier, None, None, dp_mepf.fresh_generator, EMBEDDING, Moments,
    ),
    "dpsda": Method(
        "DPSDA, Private Evolution (ICLR 2024)",
        query.train_classifier, None, selection.all_public, pretrain.train_diffusion, EVOLUTION, Evolution,
    ),
}  # fmt: skip
