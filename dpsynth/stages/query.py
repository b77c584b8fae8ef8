"""Stage 01: train the semantic query function on public images, and ask the private images through it, once.

RPGen Sec. "Stage 1", PrivImage Sec. 3.2 and 3.3. What differs: the query runs at rate 1 on every record, is not
divided by any private size, and has discrete Gaussian noise.
"""

import torch
from torch.nn import functional as F
from tqdm import tqdm

from dpsynth import device, privacy, store
from dpsynth.artifacts import Central, Codes, Encoder, Perceptual, Release
from dpsynth.data import catalog
from dpsynth.models import training
from dpsynth.models.classifier import Classifier
from dpsynth.models.pixels import scaled
from dpsynth.privacy import Counts, Private
from dpsynth.stages import planning

BATCH, RATE = 128, 2e-3


def encoder(p) -> Encoder | Codes | Perceptual | None:
    """The network that `p` trains, or reads, before all else: classifier, autoencoder or VGG-19; None without one."""
    if p.row.encoder is None:
        return None
    catalog.refuse_shared_files(p.private, p.public)
    return store.build("encoder", p.row.encoder, p)


def run(p) -> Release | Central | None:
    """What `p` asks once before its base, asked now if it was not before: RPGen and PrivImage the noisy semantic
    histogram, DP-FETA the central images, the others nothing."""
    if p.row.release is None:
        return None
    if not planning.run(p).is_private:
        return exact(p)
    return planning.ask("release", p.row.release, p, encoder=encoder(p))


def exact(p) -> Release:
    """The answer without noise, of a built-in benchmark: for the non-private twin, and to measure recall."""
    available = {"private": planning.private(p), "encoder": encoder(p)}
    return store.build("votes", p.row.release.exact, p, **store.named(p.row.release.exact, available))


def train_classifier(
    work: store.Work, *, public: str, background: str, shape: tuple, seed: int, encoder_steps: int
) -> Encoder:
    """Train the classifier on the public set by AdamW; every 20th image is held out to measure it.

    Args:
        encoder_steps: batches of 128.
    """
    images = catalog.public(public, *shape, background=background)
    held_out = torch.arange(len(images.images)) % 20 == 0
    seen = torch.nonzero(~held_out)[:, 0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(store.seed_of(seed, "encoder", "weights"))
        model = Classifier(shape[0], len(images.classes)).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    history: dict[str, list[float]] = {"loss": []}
    parts = {"model": model, "optimizer": optimizer}
    bar = tqdm(total=encoder_steps, desc="query function", mininterval=5)
    for step in training.steps(work, encoder_steps, parts, history):
        bar.update(step + 1 - bar.n)
        draws = training.generator(store.seed_of(seed, "encoder"), step)
        rows = seen[training.public_batch(len(seen), BATCH, draws)]
        optimizer.param_groups[0]["lr"] = RATE * training.cosine(step, encoder_steps)
        with device.autocast(device.precision()):
            answers = model(scaled(images.images[rows]))
        loss = F.cross_entropy(answers.float(), images.labels[rows], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history["loss"].append(loss.item())
    accuracy = (predict(model, images.images[held_out], 1)[:, 0] == images.labels[held_out]).float().mean().item()
    return Encoder(model.state_dict(), list(images.classes), accuracy, history)


def semantic_histogram(
    work: store.Work, private: Private, encoder: Encoder, allowance: planning.Allowance, *, votes: int, mode: str
) -> Release:
    """Each private image votes for the `votes` public classes it resembles most; the histogram gets noise, once.

    Args:
        mode: "per_class", one row a private label (PrivImage's code), or "global", one row in all (RPGen's text).
    """
    model = classifier(encoder, private.shape[0])
    by_label, bins = mode == "per_class", len(encoder.classes)
    charge = allowance.charge(work, private)
    histogram = private.count(lambda x, labels, draws: _top(model, x, votes), bins, charge, by_label=by_label)
    return Release(histogram, by_label)


def exact_histogram(work: store.Work, private: Private, encoder: Encoder, *, votes: int, mode: str) -> Release:
    """The same votes without noise, through `privacy.evaluation`: an evaluation, not a release."""
    images, labels = privacy.evaluation(private, "votes without noise")
    cast = predict(classifier(encoder, private.shape[0]), images, votes)
    by_label = mode == "per_class"
    rows = labels if by_label else torch.zeros_like(labels)
    histogram = torch.zeros(len(private.classes) if by_label else 1, len(encoder.classes), dtype=torch.int64)
    histogram.index_put_((rows[:, None].expand_as(cast), cast), torch.ones_like(cast), accumulate=True)
    return Release(histogram, by_label)


def histogram_price(p, learn: list[privacy.mechanisms.Mechanism]) -> list[Counts]:
    """One histogram; its noise by rule, unless the method's options name it.

    Raises:
        ValueError: more votes, or more classes to keep, than there are public classes; nothing was asked yet.
    """
    available, rows = catalog.n_public_classes(p.public), p.n_classes if p["mode"] == "per_class" else 1
    if p["votes"] > available or rows * p["kept"] > available:
        raise ValueError(
            f"votes={p['votes']} and kept={p['kept']} for each of {rows} rows ask for more classes than the "
            f"{available} of {p.public}; lower them"
        )
    noise = p["query_noise"] or planning.query_noise(p, p["votes"], learn)
    return [Counts("semantic_histogram", p["votes"], noise)]


def classifier(encoder: Encoder, channels: int) -> Classifier:
    """The trained network, in eval mode: each image is seen alone."""
    model = Classifier(channels, len(encoder.classes))
    model.load_state_dict(encoder.weights)
    return model.to(memory_format=torch.channels_last).eval()


def predict(model: Classifier, images: torch.Tensor, k: int) -> torch.Tensor:
    """The k likeliest classes of each image: (N, C, H, W) uint8 -> (N, k) int64."""
    model.eval()
    return torch.cat([_top(model, scaled(part), k) for part in images.split(500)])


@torch.no_grad()
def _top(model: Classifier, x: torch.Tensor, k: int) -> torch.Tensor:
    return model(x).topk(k, dim=1).indices
