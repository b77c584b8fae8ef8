"""Logistic regression and MLP, as scikit-learn has them, on a GPU: of 50,000 colour images its own take minutes.

The objectives are scikit-learn's, but that the MLP's biases decay too; draws and rounding are others. So accuracies are
near its own and not equal.
"""

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.nn import functional as F

from dpsynth import device
from dpsynth.models import networks, training

MLP_HIDDEN, MLP_BATCH, MLP_RATE, MLP_DECAY = 100, 200, 1e-3, 1e-4  # scikit-learn's defaults


def logistic_regression(images: Tensor, labels: Tensor, test: Tensor, iterations: int) -> np.ndarray:
    """Labels of `test` by `sklearn.linear_model.LogisticRegression`: SciPy's L-BFGS on the mean cross-entropy and half
    the squared weights over N, in float64; intercepts are not penalised. Two classes share one row of weights.

    Args:
        images: uint8 (N, C, H, W); labels: (N,) int64, two different ones or more; test: uint8 (M, C, H, W).
        iterations: at most.
    """
    x, (known, y) = _pixels(images).double(), device.put(labels).unique(return_inverse=True)
    shape = (len(known) if len(known) > 2 else 1, x.shape[1] + 1)

    def scores(x: Tensor, weights: Tensor) -> Tensor:
        z = x @ weights[:, :-1].T + weights[:, -1]
        return z if len(known) > 2 else F.pad(z, (1, 0))  # the first of two classes scores 0

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = device.put(torch.from_numpy(flat)).view(shape).requires_grad_()
        value = F.cross_entropy(scores(x, weights), y) + weights[:, :-1].square().sum() / (2 * len(x))
        (slope,) = torch.autograd.grad(value, weights)
        return value.item(), device.host(slope).flatten().numpy()

    stop = {"maxiter": iterations, "maxls": 50, "gtol": 1e-4, "ftol": 64 * np.finfo(float).eps}  # scikit-learn's
    found = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options=stop).x
    best = device.put(torch.from_numpy(found)).view(shape)
    answers = [known[scores(_pixels(part).double(), best).argmax(1)] for part in test.split(5000)]
    return device.host(torch.cat(answers)).numpy()


def mlp(images: Tensor, labels: Tensor, test: Tensor, n_classes: int, epochs: int, seed: int) -> np.ndarray:
    """Labels of `test` by `sklearn.neural_network.MLPClassifier`: 100 hidden units, Adam at 1e-3, batches of 200.

    Args:
        images, labels, test: as of `logistic_regression`; seed: of initial weights and batches.
    """
    x, y, draws = _pixels(images), device.put(labels), torch.Generator().manual_seed(seed)
    with networks.seeded(seed):
        layers = nn.Linear(x.shape[1], MLP_HIDDEN), nn.Linear(MLP_HIDDEN, n_classes)
    for layer in layers:
        bound = (6 / sum(layer.weight.shape)) ** 0.5  # Glorot's, as scikit-learn has it for biases too
        for weights in (layer.weight, layer.bias):
            nn.init.uniform_(weights, -bound, bound, generator=draws)
    network = device.placed(nn.Sequential(layers[0], nn.ReLU(), layers[1]))
    optimizer = torch.optim.Adam(network.parameters(), MLP_RATE, weight_decay=MLP_DECAY / MLP_BATCH)
    for _ in range(epochs):
        for rows in device.put(torch.randperm(len(x), generator=draws)).split(MLP_BATCH):
            training.descend(optimizer, F.cross_entropy(network(x[rows]), y[rows]))
    with torch.no_grad():
        answers = [network(_pixels(part)).argmax(1) for part in test.split(5000)]
    return device.host(torch.cat(answers)).numpy()


def _pixels(images: Tensor) -> Tensor:
    """uint8 (N, C, H, W) -> (N, C H W) float32 in [0, 1], on the device."""
    return device.put(images).flatten(1).float() / 255
