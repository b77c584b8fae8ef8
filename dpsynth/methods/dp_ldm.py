"""The latent form of DP-LDM: an autoencoder in the place of the query function, and a base that works on its codes.

Lyu et al. (2023): autoencoder and latent diffusion are trained on public images, then a part of the
diffusion model is trained privately (`dp_sgd.dp_sgd`). Both steps here see public images only.
"""

import dataclasses
from typing import Any

import torch
from pydantic import Field

from dpsynth import device
from dpsynth.artifacts import Base, Codes, Corpus, Synthesiser
from dpsynth.checkpoints import Work
from dpsynth.data.public_sets import PublicSet
from dpsynth.methods.diffusion import AT_ONE_PLACE, DP_SGD, Pretrained
from dpsynth.methods.method import Method
from dpsynth.models import networks, training
from dpsynth.models.latent import Autoencoder, LatentDenoiser
from dpsynth.models.pixels import scaled
from dpsynth.models.trainable import Trainable, restrict
from dpsynth.privacy import Private
from dpsynth.recipes import work
from dpsynth.seeds import seed_of
from dpsynth.stages import dp_sgd, pretrain, progress, selection
from dpsynth.stages.permit import Permit

MEASURED = 5000  # images that are in the autoencoder together


class Light(Pretrained):
    """DP-LDM's options: fewer weights learn, on pixels or on codes."""

    trainable: Trainable = Field("light", description="all weights, or light: attention, labels, time, first conv")
    latent: bool = Field(False, description="diffusion on the codes of a public autoencoder")


@work
def train_autoencoder(
    work: Work, public: PublicSet, *, shape: tuple, seed: int, width: int, encoder_steps: int, encoder_batch: int,
    encoder_rate: float,
) -> Codes:  # fmt: skip
    """Train the autoencoder on the public set; every 20th image is held out, and MEASURED of them at most measure it.

    Args:
        encoder_steps, encoder_batch, encoder_rate: steps, images of each, and learning rate at its peak.
    """
    images, of_stage = public.images, seed_of(seed, "autoencoder")
    with networks.seeded(of_stage):
        model = device.placed(Autoencoder(*shape, width))
    optimizer = torch.optim.Adam(model.parameters(), lr=encoder_rate)
    training.minimise(
        work, model, optimizer, lambda rows, draws: model.loss(scaled(device.put(images[rows])), draws), len(images),
        encoder_batch, of_stage, encoder_steps, progress.public(encoder_steps, "autoencoder"),
    )  # fmt: skip
    unseen = scaled(device.put(images[training.held_out(len(images)).nonzero()[:MEASURED, 0]]))
    model.standardise(unseen)
    with torch.no_grad():
        error = (model.decode(model.encode(unseen)) - unseen).square().mean().sqrt().item()
    return Codes(model.state_dict(), error)


@work(joined=True)
def train_latent(
    work: Work, corpus: Corpus, encoder: Codes, *, shape: tuple, seed: int, width: int, prediction: str,
    unet: dict | None, augment: str | None,
    conditional: bool, pretrain_steps: int, pretrain_batch: int, pretrain_rate: float, pretrain_average: float,
) -> Base:  # fmt: skip
    """A denoiser of the codes of the corpus's images; the autoencoder is part of it, and stays as it is."""
    corpus = corpus if conditional else pretrain.without_labels(corpus)
    model: LatentDenoiser = pretrain.initial(architecture(shape, corpus.n_labels, width, prediction, unet), seed)
    model.autoencoder.load_state_dict(encoder.weights)
    return pretrain.fit(
        work, model, corpus, seed, pretrain_steps, pretrain_batch, pretrain_rate, pretrain_average, augment=augment
    )


def architecture(shape: tuple, n_labels: int, width: int, prediction: str, unet: dict | None) -> dict[str, Any]:
    """Of a denoiser of codes: what `networks.build` takes."""
    return {
        "network": "latent_denoiser", "channels": shape[0], "size": shape[1], "n_labels": n_labels, "width": width,
        "prediction": prediction, "unet": unet,
    }  # fmt: skip


@work(joined=True)
def dp_sgd_on_codes(
    work: Work, private: Private, base: Base, permit: Permit,
    *, seed: int, learning_rate: float, average: float, trainable: str, augment: str | None,
) -> Synthesiser:  # fmt: skip
    """`dp_sgd.dp_sgd`, on a denoiser whose autoencoder encodes each record: a work of its own, as that code counts."""
    model: LatentDenoiser = dp_sgd.ready(base, len(private.classes), seed)
    restrict(model, trainable)
    return dp_sgd.descend(work, private, model, permit, learning_rate, average, augment)


ON_CODES = {
    "encoder": train_autoencoder, "base": train_latent, "learn": dataclasses.replace(DP_SGD, release=dp_sgd_on_codes),
}  # fmt: skip


def _on_codes(options: Light) -> dict[str, Any]:
    """With `latent: true` an autoencoder stands where other methods have a query function."""
    return ON_CODES if options.latent else {}


DP_LDM = Method(
    paper="DP-LDM (Lyu et al. 2023)", options=Light, corpus=selection.all_public, base=pretrain.train_diffusion,
    learn=DP_SGD, settings=AT_ONE_PLACE, adapt=_on_codes, page="dp_ldm",
)  # fmt: skip
