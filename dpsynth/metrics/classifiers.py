"""What classifiers learn of synthetic images, tested on real ones."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from dpsynth import device
from dpsynth.metrics import resnet9, shallow
from dpsynth.metrics.distances import check_images
from dpsynth.models import networks, training
from dpsynth.models.classifier import cross_entropy
from dpsynth.models.pixels import scaled

LR_ITERATIONS = 5000  # at most
MLP_EPOCHS = 100
CNN_EPOCHS, CNN_BATCH, CNN_RATE = 10, 64, 3e-3


def accuracies(
    train_images: Tensor, train_labels: Tensor, test_images: Tensor, test_labels: Tensor,
    n_classes: int, seed: int,
) -> dict[str, float]:  # fmt: skip
    """Accuracy in percent on `test_*` (real) of classifiers that saw `train_*` (synthetic) alone.

    - `CA-LR`: scikit-learn's logistic regression, lbfgs, to convergence.
    - `CA-MLP`: scikit-learn's MLP, 100 hidden units, Adam, 100 epochs. (PrivImage: until the loss stands still.)
    - `CA-CNN`: convolutions of 32, 64 and 128 channels, dropout 0.5, as in DPDM's evaluation; Adam, one-cycle
      up to 3e-3 and down to 0, 10 epochs of batches of 64. (DPDM: 50 epochs at 3e-4, batches of 128, and of
      those the best on held-out synthetic images.)
    - `CA-ResNet9`, of images with colour alone: see `resnet9.trained`.

    Where there is a GPU the first two are computed there; see `shallow`.

    The last epoch stands: nothing is selected or stopped, and nothing but ResNet-9's images augmented. A class that
    `train_labels` lacks is merely never answered.

    Args:
        train_images, test_images: uint8 (N, C, H, W), at least 8x8; labels: (N,) int64 in [0, n_classes).
        seed: of initial weights, batches and dropout; torch's global generator is left alone.
    Raises:
        ValueError: empty sets, images that are not uint8 or of different shapes, labels that do not fit,
            fewer than two classes.
    """
    check_images(train_images=train_images, test_images=test_images)
    if n_classes < 2:
        raise ValueError(f"accuracy needs two classes or more; got n_classes={n_classes}")
    _check_labels("train_labels", train_labels, len(train_images), n_classes)
    _check_labels("test_labels", test_labels, len(test_images), n_classes)
    if min(train_images.shape[2:]) < 8:
        raise ValueError(f"the CNN halves images three times and needs 8x8; got {[*train_images.shape[2:]]}")
    first = _by_torch if device.on_gpu() else _by_scikit_learn
    answers = first(train_images, train_labels, test_images, n_classes, seed)
    answers["CA-CNN"] = _answers(_cnn(train_images, train_labels, n_classes, seed), test_images)
    if train_images.shape[1] == 3:
        network = resnet9.trained(train_images, train_labels, n_classes, seed)
        answers["CA-ResNet9"] = _answers(network, test_images)
    return {name: 100 * float((answer == test_labels.numpy()).mean()) for name, answer in answers.items()}


def right_answers(
    train_images: Tensor, train_labels: Tensor, test_images: Tensor, test_labels: Tensor, n_classes: int, seed: int
) -> dict[str, Tensor]:
    """Which `test_images` the classifiers of `accuracies`, whose arguments these are, name rightly: (M,) bool each, of
    the three that both papers have. A function of its own, so that no measurement's name depends on it.
    """
    first = _by_torch if device.on_gpu() else _by_scikit_learn
    answers = first(train_images, train_labels, test_images, n_classes, seed)
    answers["CA-CNN"] = _answers(_cnn(train_images, train_labels, n_classes, seed), test_images)
    return {name: torch.from_numpy(answer == test_labels.numpy()) for name, answer in answers.items()}


def _by_scikit_learn(x: Tensor, y: Tensor, test: Tensor, n_classes: int, seed: int) -> dict[str, np.ndarray]:
    pixels, labels, test_pixels = _flat(x), y.numpy(), _flat(test)
    with threadpool_limits(1, user_api="blas"):  # as in `distances.between`
        regression = _logistic_regression(pixels, labels, test_pixels)
        return {"CA-LR": regression, "CA-MLP": _mlp(pixels, labels, test_pixels, n_classes, seed)}


def _logistic_regression(x: np.ndarray, y: np.ndarray, test: np.ndarray) -> np.ndarray:
    if (y == y[0]).all():  # scikit-learn refuses one class; there is one answer
        return np.full(len(test), y[0])
    return LogisticRegression(max_iter=LR_ITERATIONS).fit(x, y).predict(test)


def _mlp(x: np.ndarray, y: np.ndarray, test: np.ndarray, n_classes: int, seed: int) -> np.ndarray:
    # a number in place of a generator would shuffle every `partial_fit` alike
    model = MLPClassifier((100,), random_state=np.random.RandomState(np.random.MT19937(seed)))
    for _ in range(MLP_EPOCHS):
        model.partial_fit(x, y, classes=np.arange(n_classes))
    return model.predict(test)


def _by_torch(x: Tensor, y: Tensor, test: Tensor, n_classes: int, seed: int) -> dict[str, np.ndarray]:
    regression = shallow.logistic_regression(x, y, test, LR_ITERATIONS)
    return {"CA-LR": regression, "CA-MLP": shallow.mlp(x, y, test, n_classes, MLP_EPOCHS, seed)}


def _cnn(x: Tensor, y: Tensor, n_classes: int, seed: int) -> nn.Module:
    images, labels = device.put(x), device.put(y)
    with networks.seeded(seed):  # dropout knows no other generator than the global one
        network = device.placed(_cnn_layers(x.shape, n_classes)).train()
        optimizer = torch.optim.Adam(network.parameters())
        steps = CNN_EPOCHS * -(-len(x) // CNN_BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, CNN_RATE, total_steps=steps)
        for _ in range(CNN_EPOCHS):
            for rows in map(device.put, torch.randperm(len(x)).split(CNN_BATCH)):
                training.descend(optimizer, cross_entropy(network, scaled(images[rows]), labels[rows]))
                schedule.step()
    return network.eval()


@torch.no_grad()
def _answers(network: nn.Module, test: Tensor) -> np.ndarray:
    return torch.cat([device.host(network(scaled(device.put(part))).argmax(1)) for part in test.split(500)]).numpy()


def _cnn_layers(shape: torch.Size, n_classes: int) -> nn.Sequential:
    layers, channels = [], shape[1]
    for width in (32, 64, 128):
        # max and ReLU commute; in this order the ReLU has a quarter of the work
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()]
        channels = width
    flat = channels * (shape[2] // 8) * (shape[3] // 8)
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.5), nn.Linear(flat, n_classes))


def _flat(images: Tensor) -> np.ndarray:
    return (images.flatten(1).float() / 255).numpy()


def _check_labels(name: str, labels: Tensor, n_images: int, n_classes: int) -> None:
    if labels.shape != (n_images,) or labels.dtype != torch.int64:
        given = f"{labels.dtype} of shape {tuple(labels.shape)}"
        raise ValueError(f"{name} must be int64, one for each of {n_images} images; got {given}")
    if labels.min() < 0 or labels.max() >= n_classes:
        raise ValueError(f"{name} run from {labels.min()} to {labels.max()}, outside 0 to {n_classes - 1}")
