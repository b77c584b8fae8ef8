"""The methods that fine-tune a denoiser as it is: RPGen, PrivImage+D, PDP-Diffusion and DPDM."""

from typing import Any

from pydantic import Field

from dpsynth.methods.method import Method, Options, PrivateStep
from dpsynth.models.diffusion import Prediction
from dpsynth.models.trainable import Trainable
from dpsynth.stages import dp_sgd, pretrain, query, selection
from dpsynth.strict import Real


class Denoising(Options, dp_sgd.Learning, pretrain.Network):
    """Options of the methods that fine-tune a denoiser."""

    prediction: Prediction = Field("edm", description="EDM, EDM at published noise levels, or DDPM (RPGen's text)")


class Fixed(Denoising):
    """Options of the methods that fine-tune all of a denoiser, or a part of it that was fixed beforehand."""

    trainable: Trainable = Field("all", description="all weights, or light: attention, labels, time, first conv")


class Pretrained(Fixed, pretrain.Conditional):
    """Options of the methods that fine-tune a pre-trained denoiser."""


class Semantic(Pretrained, query.Voting):
    """Options of the methods that fine-tune a denoiser after a semantic histogram."""


class Adversarial(Semantic):
    """RPGen's options: the query's, and those of adversarial model perturbation."""

    amp_gamma: Real = Field(0.2, ge=0, lt=1e6, description="radius of the ball, gamma; 0 turns perturbation off")
    amp_eta: Real = Field(0.4, gt=0, lt=1e6, description="inner step size, eta1")
    amp_normalise: bool = Field(False, description="perturb by gamma times the unit gradient, as SAM")


HISTOGRAM = PrivateStep(
    name="semantic_histogram", release=query.semantic_histogram, mechanism=query.histogram_mechanism,
)  # fmt: skip
DP_SGD = PrivateStep(
    name="dp_sgd", release=dp_sgd.dp_sgd, mechanism=dp_sgd.mechanism, without_noise=dp_sgd.without_privacy,
    estimate_minutes=dp_sgd.minutes,
)  # fmt: skip
AT_ONE_PLACE = {"attention": "middle"}  # of the denoisers of these methods; DP-SAPF's has it everywhere


def _unperturbed(options: Adversarial) -> dict[str, Any]:
    """At gamma 0 nothing is perturbed, and the base is PrivImage's."""
    return {} if options.amp_gamma else {"base": pretrain.train_diffusion}


RPGEN = Method(
    paper="RPGen (AAAI 2026)", options=Adversarial, encoder=query.train_classifier, release=HISTOGRAM,
    corpus=selection.top_classes, base=pretrain.train_with_amp, learn=DP_SGD, settings=AT_ONE_PLACE, adapt=_unperturbed,
)  # fmt: skip
PRIVIMAGE_D = Method(
    paper="PrivImage+D (USENIX Security 2024)", options=Semantic, encoder=query.train_classifier, release=HISTOGRAM,
    corpus=selection.top_classes, base=pretrain.train_diffusion, learn=DP_SGD, settings=AT_ONE_PLACE,
)  # fmt: skip
PDP_DIFFUSION = Method(
    paper="PDP-Diffusion (Ghalebikesabi et al. 2023)", options=Pretrained, corpus=selection.all_public,
    base=pretrain.train_diffusion, learn=DP_SGD, settings=AT_ONE_PLACE, page="without_selection",
)  # fmt: skip
DPDM = Method(
    paper="DPDM (TMLR 2023)", options=Fixed, base=pretrain.fresh, learn=DP_SGD, settings=AT_ONE_PLACE,
    page="without_selection",
)  # fmt: skip
