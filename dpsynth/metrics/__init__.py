"""How good synthetic images are: how far from real ones, what classifiers learn of them, whom they resemble.

Pure functions of arrays. Whoever calls them opens the held-out records through `privacy.evaluation`: a number
made here is an evaluation on a public benchmark, not a release.
"""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from torch_fidelity import calculate_metrics

from dpsynth import device
from dpsynth.metrics.extractors import FeatureExtractor, convnet, features, inception, train_convnet
from dpsynth.models.pixels import scaled

__all__ = [
    "classifiers", "convnet", "distances", "features", "inception", "nearest", "train_convnet", "tsne",
]  # fmt: skip

NEIGHBOURS = 3  # of precision and recall (Kynkaanniemi et al. 2019)
KERNEL_SUBSETS, KERNEL_SUBSET_SIZE = 50, 500
MLP_EPOCHS = 100
CNN_EPOCHS, CNN_BATCH, CNN_RATE = 10, 64, 3e-3


def distances(synthetic: Tensor, reference: Tensor, extractor: FeatureExtractor) -> dict[str, float]:
    """Distances between two sets of images, on the features of `extractor`; by torch-fidelity.

    - `FD-convnet`, or `FID` on Inception: Frechet distance of Gaussians fitted to both (Heusel et al. 2017).
      Biased upwards in small sets: compare at equal sizes only.
    - `KID-convnet`, or `KID`: squared maximum mean discrepancy, cubic kernel (Binkowski et al. 2018), mean
      over 50 random subsets of 500, or of the smaller set's size. Unbiased, so it may fall below 0.
    - `precision`: share of `synthetic` in the real manifold, the balls around real images that reach their
      third neighbour; `recall`: share of `reference` in the synthetic one (Kynkaanniemi et al. 2019). Both
      move with the sizes of the sets.

    Deterministic. Leaves torch's global generator alone.

    Args:
        synthetic: uint8 (N, C, H, W), the generated images; reference: uint8 (M, C, H, W), the real ones.
    Raises:
        ValueError: a set is empty, not uint8 images, or has fewer than 4; or their shapes differ.
    """
    _check_images(synthetic=synthetic, reference=reference)
    smaller = min(len(synthetic), len(reference))
    if smaller <= NEIGHBOURS:
        raise ValueError(f"distances need more than {NEIGHBOURS} images a set; one has {smaller}")
    # torch-fidelity's loader draws a seed that it does not need
    with torch.random.fork_rng(devices=[]), _one_thread():
        found = calculate_metrics(
            input1=_Images(extractor.prepared(synthetic)), input2=_Images(extractor.prepared(reference)),
            feature_extractor=extractor.registered, batch_size=extractor.batch, **extractor.options,
            fid=True, kid=True, prc=True, prc_neighborhood=NEIGHBOURS,
            kid_subsets=KERNEL_SUBSETS, kid_subset_size=min(KERNEL_SUBSET_SIZE, smaller),
            save_cpu_ram=True,  # else four worker processes are forked for each set
            cuda=False, cache=False, verbose=False,
        )  # fmt: skip
    return {
        extractor.frechet: found["frechet_inception_distance"],
        extractor.kernel: found["kernel_inception_distance_mean"],
        "precision": found["precision"],
        "recall": found["recall"],
    }


def classifiers(
    train_images: Tensor, train_labels: Tensor, test_images: Tensor, test_labels: Tensor,
    n_classes: int, seed: int,
) -> dict[str, float]:  # fmt: skip
    """Accuracy in percent on `test_*` (real) of three classifiers that saw `train_*` (synthetic) alone.

    - `CA-LR`: scikit-learn's logistic regression, lbfgs, to convergence.
    - `CA-MLP`: scikit-learn's MLP, 100 hidden units, Adam, 100 epochs.
    - `CA-CNN`: convolutions of 32, 64 and 128 channels, dropout 0.5, as in DPDM's evaluation; Adam, one-cycle
      up to 3e-3 and down to 0, 10 epochs of batches of 64. (DPDM: 50 epochs at 3e-4, batches of 128, and of
      those the best on held-out synthetic images.)

    The last epoch stands: nothing is selected, stopped or augmented. A class that `train_labels` lacks is
    merely never answered.

    Args:
        train_images, test_images: uint8 (N, C, H, W), at least 8x8; labels: (N,) int64 in [0, n_classes).
        seed: of initial weights, batches and dropout; torch's global generator is left alone.
    Raises:
        ValueError: empty sets, images that are not uint8 or of different shapes, labels that do not fit,
            fewer than two classes.
    """
    _check_images(train_images=train_images, test_images=test_images)
    if n_classes < 2:
        raise ValueError(f"accuracy needs two classes or more; got n_classes={n_classes}")
    _check_labels("train_labels", train_labels, len(train_images), n_classes)
    _check_labels("test_labels", test_labels, len(test_images), n_classes)
    if min(train_images.shape[2:]) < 8:
        raise ValueError(f"the CNN halves images three times and needs 8x8; got {[*train_images.shape[2:]]}")
    x, y, test = _flat(train_images), train_labels.numpy(), _flat(test_images)
    with _one_thread():
        answers = {"CA-LR": _logistic_regression(x, y, test), "CA-MLP": _mlp(x, y, test, n_classes, seed)}
    answers["CA-CNN"] = _cnn(train_images, train_labels, test_images, n_classes, seed)
    return {name: 100 * float((answer == test_labels.numpy()).mean()) for name, answer in answers.items()}


def _logistic_regression(x: np.ndarray, y: np.ndarray, test: np.ndarray) -> np.ndarray:
    if (y == y[0]).all():  # scikit-learn refuses one class; there is one answer
        return np.full(len(test), y[0])
    return LogisticRegression(max_iter=5000).fit(x, y).predict(test)


def _mlp(x: np.ndarray, y: np.ndarray, test: np.ndarray, n_classes: int, seed: int) -> np.ndarray:
    model = MLPClassifier((100,), random_state=_stream(seed))
    for _ in range(MLP_EPOCHS):
        model.partial_fit(x, y, classes=np.arange(n_classes))
    return model.predict(test)


def _cnn(x: Tensor, y: Tensor, test: Tensor, n_classes: int, seed: int) -> np.ndarray:
    with torch.random.fork_rng(devices=[]):  # dropout knows no other generator than the global one
        torch.manual_seed(seed)
        network = _cnn_layers(x.shape, n_classes).to(memory_format=torch.channels_last).train()
        optimizer = torch.optim.Adam(network.parameters())
        steps = CNN_EPOCHS * -(-len(x) // CNN_BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, CNN_RATE, total_steps=steps)
        for _ in range(CNN_EPOCHS):
            for rows in torch.randperm(len(x)).split(CNN_BATCH):
                with device.autocast(device.precision()):
                    answers = network(scaled(x[rows]))
                loss = F.cross_entropy(answers.float(), y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    network.eval()
    with torch.no_grad():
        return torch.cat([network(scaled(part)).argmax(1) for part in test.split(500)]).numpy()


def _cnn_layers(shape: torch.Size, n_classes: int) -> nn.Sequential:
    layers, channels = [], shape[1]
    for width in (32, 64, 128):
        # max and ReLU commute; in this order the ReLU has a quarter of the work
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()]
        channels = width
    flat = channels * (shape[2] // 8) * (shape[3] // 8)
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.5), nn.Linear(flat, n_classes))


def nearest(synthetic: Tensor, real: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """The `k` images of `real` nearest to each of `synthetic` in pixel space, nearest first.

    Args:
        synthetic: uint8 (N, C, H, W); real: uint8 (M, C, H, W); k: in 1 to M.
    Returns:
        Indices into `real`, (N, k) int64; Euclidean distances of images in [-1, 1], (N, k) float64; a copy's
        is 0.
    Raises:
        ValueError: a set is empty or not uint8 images, shapes differ, or k is out of range.
    """
    _check_images(synthetic=synthetic, real=real)
    if not 1 <= k <= len(real):
        raise ValueError(f"Expected k={k} to lie in 1 to {len(real)}, the number of real images")
    # whole numbers in float64: sums of squares are exact, so that a copy is at distance 0
    everyone = real.flatten(1).double()
    gaps = (torch.cdist(part.flatten(1).double(), everyone) for part in synthetic.split(500))
    found = [gap.topk(k, largest=False) for gap in gaps]
    return torch.cat([f.indices for f in found]), torch.cat([f.values for f in found]) / 127.5


def tsne(vectors: Tensor | np.ndarray, seed: int) -> np.ndarray:
    """A picture of `vectors` (N, D) in the plane, (N, 2): scikit-learn's t-SNE, perplexity 30 or less.

    Raises:
        ValueError: fewer than 4 rows, or values that are not finite.
    """
    vectors = np.asarray(vectors)
    if vectors.ndim != 2 or len(vectors) < 4 or not np.isfinite(vectors).all():
        raise ValueError(f"t-SNE needs a finite table of 4 rows or more; got shape {vectors.shape}")
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    with _one_thread("openmp"), _one_thread():
        return TSNE(perplexity=perplexity, init="pca", random_state=_stream(seed)).fit_transform(vectors)


class _Images(Dataset):
    """Images one by one, as torch-fidelity asks for them (a TensorDataset would yield tuples)."""

    def __init__(self, images: Tensor):
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Tensor:
        return self._images[index]


def _flat(images: Tensor) -> np.ndarray:
    return (images.flatten(1).float() / 255).numpy()


def _check_images(**sets: Tensor) -> None:
    for name, images in sets.items():
        if images.is_floating_point() and not images.isfinite().all():
            raise ValueError(f"{name} holds values that are not finite: its sampler has diverged")
        if images.dtype != torch.uint8 or images.ndim != 4:
            shape = tuple(images.shape)
            raise ValueError(f"{name} must be uint8 images (N, C, H, W); got {images.dtype} of shape {shape}")
        if not len(images):
            raise ValueError(f"{name} is empty")
    (one, first), (other, second) = sets.items()
    if first.shape[1:] != second.shape[1:]:
        shapes = f"{tuple(first.shape[1:])} and {tuple(second.shape[1:])}"
        raise ValueError(f"{one} and {other} must have the same (C, H, W); got {shapes}")


def _check_labels(name: str, labels: Tensor, n_images: int, n_classes: int) -> None:
    if labels.shape != (n_images,) or labels.dtype != torch.int64:
        found = f"{labels.dtype} of shape {tuple(labels.shape)}"
        raise ValueError(f"{name} must be int64, one for each of {n_images} images; got {found}")
    if labels.min() < 0 or labels.max() >= n_classes:
        raise ValueError(f"{name} run from {labels.min()} to {labels.max()}, outside 0 to {n_classes - 1}")


def _one_thread(api: str = "blas") -> threadpool_limits:
    """Matrices here are small: threads gain nothing, and where they wait for a busy core they take minutes."""
    return threadpool_limits(1, user_api=api)


def _stream(seed: int) -> np.random.RandomState:
    """Scikit-learn's kind of generator. A number in its place would shuffle every `partial_fit` alike."""
    return np.random.RandomState(np.random.MT19937(seed))
