"""Stage 01: train the semantic query function on public images, and ask the private images through it, once.

RPGen Sec. "Stage 1", PrivImage Sec. 3.2 and 3.3. What differs: the query runs at rate 1 on every record, is not
divided by any private size, and has discrete Gaussian noise.
"""

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field

from dpsynth import device, privacy
from dpsynth.artifacts import Curves, Encoder, SemanticHistogram
from dpsynth.checkpoints import Work
from dpsynth.data.public_sets import PublicSet
from dpsynth.models import networks, training
from dpsynth.models.classifier import Classifier, cross_entropy
from dpsynth.models.pixels import scaled
from dpsynth.models.resnet import ResNet, augmented
from dpsynth.privacy import Counts, Private
from dpsynth.recipes import work
from dpsynth.seeds import seed_of
from dpsynth.stages import progress
from dpsynth.stages.permit import Permit
from dpsynth.strict import Noise, Strict

Queried = Classifier | ResNet  # networks that a query may be asked through


class Voting(Strict):
    """Options of the semantic histogram, and of the selection by it."""

    votes: int = Field(5, ge=1, le=10**5, description="votes a record casts, k")
    kept: int = Field(5, ge=1, le=10**5, description="public classes kept, for each row of the histogram")
    mode: Literal["per_class", "global"] = Field("per_class", description="one histogram a private label, or one")
    match: Literal["top_k", "proportional"] = Field("top_k", description="all images of a kept class, or by votes")
    query_noise: Noise = Field(None, description="noise multiplier of the query; by rule if null")


@work
def train_classifier(
    work: Work, public: PublicSet, *, seed: int, encoder_steps: int, encoder_batch: int, encoder_rate: float,
    encoder_network: str | None,
) -> Encoder:  # fmt: skip
    """Train the classifier on the public set by AdamW; every 20th image is held out to measure it.

    Args:
        encoder_steps, encoder_batch, encoder_rate: steps, images of each, and learning rate at its peak.
        encoder_network: a ResNet, which sees colour images mirrored and cropped at random; None for the small network,
            which sees images as they are. PrivImage's Table 7 has SGD.
    """
    held_out = training.held_out(len(public.images))
    with networks.seeded(seed_of(seed, "encoder", "weights")):
        model = network(public.images.shape[1], len(public.classes), encoder_network).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=encoder_rate, weight_decay=0.05)

    def loss(rows: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
        x, labels = scaled(device.put(public.images[rows])), device.put(public.labels[rows])
        if encoder_network and x.shape[1] == 3:  # a mirrored character is another
            x = augmented(x, draws)
        return cross_entropy(model, x, labels, smoothing=0.05)

    bar = progress.public(encoder_steps, "query function")
    training.minimise(
        work, model, optimizer, loss, len(public.images), encoder_batch, seed_of(seed, "encoder"), encoder_steps, bar
    )
    accuracy = (predict(model, public.images[held_out], 1)[:, 0] == public.labels[held_out]).float().mean().item()
    return Encoder(model.state_dict(), list(public.classes), accuracy, encoder_network)


@work
def semantic_histogram(
    work: Work, private: Private, encoder: Encoder, permit: Permit, *, votes: int, mode: str
) -> SemanticHistogram:
    """Each private image votes for the `votes` public classes it resembles most; the histogram gets noise, once.

    Args:
        mode: "per_class", one row a private label (PrivImage's code), or "global", one row in all (RPGen's text).
    """
    model = classifier(encoder, private.shape[0])
    by_label, bins = mode == "per_class", len(encoder.classes)
    charge = permit.charge(work, private)
    histogram = private.count(lambda x, labels, draws: _top(model, x, votes), bins, charge, by_label=by_label)
    return SemanticHistogram(histogram, by_label)


@work
def exact_histogram(work: Work, private: Private, encoder: Encoder, *, votes: int, mode: str) -> SemanticHistogram:
    """The same votes without noise, through `privacy.evaluation`: an evaluation, not a release."""
    images, labels = privacy.evaluation(private, "votes without noise")
    cast = predict(classifier(encoder, private.shape[0]), images, votes)
    by_label = mode == "per_class"
    rows = labels if by_label else torch.zeros_like(labels)
    histogram = torch.zeros(len(private.classes) if by_label else 1, len(encoder.classes), dtype=torch.int64)
    histogram.index_put_((rows[:, None].expand_as(cast), cast), torch.ones_like(cast), accumulate=True)
    return SemanticHistogram(histogram, by_label)


def histogram_mechanism(
    rule: Callable[[int], float],
    *, votes: int, kept: int, mode: str, query_noise: float | None, public: str, n_public_classes: int, n_classes: int,
) -> Counts:  # fmt: skip
    """One histogram; its noise by rule, unless the method's options name it.

    Raises:
        ValueError: more votes, or more classes to keep, than there are public classes; nothing was asked yet.
    """
    rows = n_classes if mode == "per_class" else 1
    if votes > n_public_classes or rows * kept > n_public_classes:
        raise ValueError(
            f"votes={votes} and kept={kept} for each of {rows} rows ask for more classes than the {n_public_classes} "
            f"of {public}; lower them"
        )
    return Counts("semantic_histogram", votes, query_noise or rule(votes))


def network(channels: int, n_classes: int, encoder_network: str | None) -> Queried:
    """The query function's network with random weights."""
    model = ResNet(channels, n_classes, encoder_network) if encoder_network else Classifier(channels, n_classes)
    return device.placed(model)


def classifier(encoder: Encoder, channels: int) -> Queried:
    """The trained network, frozen and in eval mode: each image is seen alone."""
    model = network(channels, len(encoder.classes), encoder.network)
    model.load_state_dict(encoder.weights)
    return model.eval().requires_grad_(False)


def predict(model: Queried, images: torch.Tensor, k: int) -> torch.Tensor:
    """The k likeliest classes of each image: (N, C, H, W) uint8 -> (N, k) int64."""
    model.eval()
    return torch.cat([device.host(_top(model, scaled(part), k)) for part in images.split(500)])


@torch.no_grad()
def _top(model: Queried, x: torch.Tensor, k: int) -> torch.Tensor:
    return model(device.put(x)).topk(k, dim=1).indices


@work
def accuracy_along(
    work: Work, public: PublicSet, *, seed: int, encoder_steps: int, encoder_batch: int, encoder_rate: float,
    encoder_network: str | None,
) -> Curves:  # fmt: skip
    """Accuracy in percent over the steps of `train_classifier`, whose training it repeats (PrivImage, Figure 9).

    It is a work of its own so that an encoder's name, and with it the name of all that is asked through one, does not
    depend on how it is watched.

    Returns:
        `accuracy-held-out`, of every 20th image, and `accuracy-training`, of as many of the others; at 12 steps or so.
    """
    held_out = training.held_out(len(public.images))
    rows = torch.nonzero(~held_out)[:, 0]
    judged = {"accuracy-held-out": held_out.nonzero()[:, 0], "accuracy-training": rows[:: len(rows) // sum(held_out)]}
    with networks.seeded(seed_of(seed, "encoder", "weights")):
        model = network(public.images.shape[1], len(public.classes), encoder_network).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=encoder_rate, weight_decay=0.05)
    history: training.History = {name: [] for name in judged}
    trained, bar = {"model": model, "optimizer": optimizer}, progress.public(encoder_steps, "query function, watched")
    every = max(1, encoder_steps // 12)
    for step in training.steps(work, encoder_steps, trained, history, bar):
        optimizer.param_groups[0]["lr"] = encoder_rate * training.cosine(step, encoder_steps)
        draws = training.generator(seed_of(seed, "encoder"), step)
        batch = rows[training.public_batch(len(rows), encoder_batch, draws)]
        x, labels = scaled(device.put(public.images[batch])), device.put(public.labels[batch])
        if encoder_network and x.shape[1] == 3:
            x = augmented(x, draws)
        training.descend(optimizer, cross_entropy(model, x, labels, smoothing=0.05))
        if (step + 1) % every == 0:
            for name, of in judged.items():
                right = predict(model, public.images[of], 1)[:, 0] == public.labels[of]
                history[name].append(100 * right.double().mean().item())
            model.train()
    at = [every * (number + 1) for number in range(encoder_steps // every)]
    return Curves({name: torch.tensor([at, values], dtype=torch.float64).T for name, values in history.items()})
