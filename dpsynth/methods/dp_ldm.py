"""The latent form of DP-LDM: an autoencoder in the place of the query function, and a base that works on its codes.

Lyu et al. (2023): autoencoder and latent diffusion are trained on public images, then a part of the
diffusion model is trained privately (`dp_sgd.dp_sgd`). Both steps here see public images only.
"""

import torch
from tqdm import tqdm

from dpsynth import store
from dpsynth.artifacts import Base, Codes, Corpus
from dpsynth.data import catalog
from dpsynth.models import training
from dpsynth.models.latent import Autoencoder
from dpsynth.models.pixels import scaled
from dpsynth.stages import pretrain

BATCH = 128
RATE = 2e-3  # of Adam, at its peak


def train_autoencoder(
    work: store.Work, *, public: str, background: str, shape: tuple, seed: int, width: int, encoder_steps: int
) -> Codes:
    """Train the autoencoder on the public set; every 20th image is held out to measure it.

    Args:
        encoder_steps: batches of 128.
    """
    images = catalog.public(public, *shape, background=background).images
    held_out = torch.arange(len(images)) % 20 == 0
    seen, unseen = torch.nonzero(~held_out)[:, 0], scaled(images[held_out])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(store.seed_of(seed, "autoencoder"))
        model = Autoencoder(*shape, width).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    history: dict[str, list[float]] = {"loss": []}
    bar = tqdm(total=encoder_steps, desc="autoencoder", mininterval=5)
    for step in training.steps(work, encoder_steps, {"model": model, "optimizer": optimizer}, history):
        bar.update(step + 1 - bar.n)
        draws = training.generator(store.seed_of(seed, "autoencoder"), step)
        optimizer.param_groups[0]["lr"] = RATE * training.cosine(step, encoder_steps)
        loss = model.loss(scaled(images[seen[training.public_batch(len(seen), BATCH, draws)]]), draws)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history["loss"].append(loss.item())
    model.standardise(unseen)
    with torch.no_grad():
        error = (model.decode(model.encode(unseen)) - unseen).square().mean().sqrt().item()
    return Codes(model.state_dict(), error, history)


def train_latent(
    work: store.Work, corpus: Corpus, encoder: Codes, *, shape: tuple, seed: int, width: int, pretrain_steps: int,
    prediction: str = "edm", conditional: bool = True,
) -> Base:  # fmt: skip
    """A denoiser of the codes of the corpus's images; the autoencoder is part of it, and stays as it is."""
    corpus = corpus if conditional else pretrain.without_labels(corpus)
    channels, size = shape
    model = pretrain.initial(
        {"network": "latent_denoiser", "channels": channels, "size": size, "n_labels": corpus.n_labels, "width": width,
         "prediction": prediction},
        seed,
    )  # fmt: skip
    model.autoencoder.load_state_dict(encoder.weights)
    return pretrain.fit(work, model, corpus, seed, pretrain_steps)
