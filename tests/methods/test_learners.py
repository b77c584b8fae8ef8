"""GANs, moment matching and Private Evolution: resume, options, unlabelled sets, and what learning is made of."""

import itertools
import shutil

import pytest
import torch
from torchvision.transforms import functional as transforms

from dpsynth import recipes
from dpsynth.artifacts import Perceptual
from dpsynth.methods import METHODS, dp_mepf, dpsda, gans
from dpsynth.models import diffusion, gan, networks, training, vgg
from dpsynth.models.renderer import Renderer
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.privacy import Private
from dpsynth.report import pictures

TINY = dict(
    steps=3, sample_rate=0.01, pretrain_steps=2, encoder_steps=2, extractor_steps=2, width=8, n_synthetic=20,
)  # fmt: skip
NEW = {
    "dpgan": {"turn": 2},
    "dp_mepf": {"matching_steps": 3},
    "dpsda": {"api": "glyphs", "candidates": 4, "lookahead": 1},
}


pytestmark = pytest.mark.usefixtures("tiny_root")


def few(method: str, options: dict) -> Run:
    """A run on 24 colour images without labels."""
    images = torch.randint(0, 256, (24, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    toy = Private(
        name="folder:nowhere", images=images, labels=torch.zeros(24, dtype=torch.int64), classes=("all",),
        n_records=24, builtin=False,
    )  # fmt: skip
    declared = dict(private="folder:nowhere", n_records=24, labels=(), size=16, noise="secret", delta=1e-3)
    declared |= {"releases": 1000}  # one set serves many tests
    return Run(Params(method=method, options=options, **{**TINY, **declared, "sample_rate": 0.5}), toy)


@pytest.mark.parametrize("method", NEW)
def test_a_killed_learner_goes_on_and_ends_with_the_same_bits(method, monkeypatch):
    p = Params(method=method, options=NEW[method], **TINY)
    owner, name = {"dpgan": (Private, "gradient"), "dp_mepf": (dp_mepf, "match"), "dpsda": (Private, "count")}[method]
    real, calls = getattr(owner, name), []

    def killed(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(training, "PATIENCE", -1.0)  # a checkpoint each step
        patch.setattr(owner, name, killed)
        with pytest.raises(KeyboardInterrupt):
            Run(p).synthesiser
        resumed = Run(p).synthesiser
    assert len(calls) == 4  # the third step was begun twice, no other
    shutil.rmtree(resumed.artifact.path)
    straight = Run(p).synthesiser
    for field in ("weights", "snapshots", "curves"):
        ours, theirs = getattr(resumed, field), getattr(straight, field)
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)
    opened = [e["open"] for e in Run(p).ledger.entries() if "open" in e]
    assert opened.count(straight.artifact.digest) == 1


@pytest.mark.parametrize(
    ("method", "option"),
    [
        ("dpsda", "amp_gamma"), ("dpgan", "public_rate"), ("dpgan", "conditional"), ("dp_mepf", "max_grad_norm"),
        ("privimage_g", "prediction"), ("dpsda", "votes"),
    ],
)  # fmt: skip
def test_an_option_of_another_method_is_refused(method, option):
    own = ", ".join(METHODS[method].options.model_fields)
    with pytest.raises(ValueError, match=f"^{method} has no option '{option}'; its own are {own}"):
        Run(Params(method=method, options={option: 1}))


def test_the_refusal_names_the_methods_that_have_the_option():
    with pytest.raises(ValueError, match=r"\(it is one of rpgen\)"):
        Run(Params(method="dpsda", options={"amp_gamma": 0.1}))
    with pytest.raises(ValueError, match=r"\(it is one of rpgen, privimage_d, privimage_g\)"):
        Run(Params(method="dpgan", options={"kept": 3}))
    with pytest.raises(ValueError, match=r"its own are [a-z_, ]+$"):  # it is nobody's
        Run(Params(method="dpgan", options={"gamma": 3}))


@pytest.mark.parametrize("method", ["dpgan", "dp_mepf", "dpsda"])
def test_a_method_that_needs_its_noise_has_no_non_private_twin(method):
    with pytest.raises(ValueError, match="no non-private twin"):
        Run(Params(method=method, epsilon=float("inf")))


@pytest.mark.parametrize("method", [*NEW, "dpgan_p"])
def test_records_without_labels_are_one_class(method):
    samples = few(method, NEW.get(method, {})).samples
    assert samples.images.shape == (20, 3, 16, 16) and (samples.labels == 0).all()


def test_the_generator_learns_from_a_copy_and_never_moves_the_discriminator():
    torch.manual_seed(0)
    model = gan.Gan(1, 12, 3, 8)
    judge = model.discriminator.requires_grad_(False)
    before = {name: w.clone() for name, w in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.generator.parameters(), lr=0.01)
    values = []
    for step in range(3):
        z, labels = gan.latents(32, torch.Generator().manual_seed(9)), torch.arange(32) % 3
        values.append(judge(model.generator(z, labels), labels).mean().item())
        gans.generator_step(model.generator, judge, optimizer, 0, step)
    assert values[0] < values[1] < values[2]
    moved = {name for name, w in model.state_dict().items() if not torch.equal(w, before[name])}
    assert moved and all(name.startswith("generator.") for name in moved)


@pytest.mark.parametrize(("kind", "steps", "seed"), [("base", 2, 1), ("synthesiser", 3, 2)])
def test_the_discriminator_is_bounded_after_each_step_of_either_training(kind, steps, seed, monkeypatch):
    norms = []

    def bound(judge):
        norms.append(judge.conv.weight.norm().item())
        with torch.no_grad():
            judge.conv.weight.mul_(0.5)

    run = Run(Params(method="dpgan_p", seed=seed, **TINY))
    if kind == "synthesiser":
        run.base
    monkeypatch.setattr(gan, "scale_to_unit_norm", bound)
    run.artifact(kind)
    assert len(norms) == steps
    assert all(later < 0.8 * earlier for earlier, later in itertools.pairwise(norms))  # the halved weights went on


def test_labels_of_a_public_corpus_do_not_survive_into_the_private_ones_of_a_gan():
    base = Run(Params(method="dpgan_p", **TINY)).base
    model, fresh = gans.ready(base, 10, seed=0), gans.initial((1, 28), 10, 8, seed=0)
    assert base.architecture["n_labels"] == 1000 and model.n_labels == 10
    for net in ("generator", "discriminator"):
        assert torch.equal(getattr(model, net).label.weight, getattr(fresh, net).label.weight)
    assert torch.equal(model.generator.first.weight, base.weights["generator.first.weight"])


def test_noise_to_signal_is_the_noise_over_the_clip_and_public():
    run = Run(Params(method="dpgan", **TINY))
    layers, ratios = pictures.noise_to_signal(run)
    mechanism = run.plan.mechanism("dp_sgd")
    weights = sum(w.numel() for w in gans.initial((1, 28), 10, 8, 0).discriminator.parameters())
    assert layers[-1] == "all layers" and ratios[-1] == max(ratios)
    assert ratios[-1] == pytest.approx(mechanism.noise_multiplier * weights**0.5 / (0.01 * 4000))


def test_moment_matching_closes_the_gap_to_an_exact_release():
    torch.manual_seed(0)
    generator, target = gan.Generator(1, 12, 2, 8), gan.Generator(1, 12, 2, 8)
    optimizer = torch.optim.Adam(generator.parameters(), lr=2e-3)
    labels = torch.arange(400) % 2
    rows = torch.nn.functional.normalize(target(gan.latents(400, torch.Generator()), labels).flatten(1)).detach()
    released = rows.view(200, 2, -1).mean(0) / 2
    gaps = [
        dp_mepf.match(generator, lambda x: torch.nn.functional.normalize(x.flatten(1)), released, optimizer, 0, step)
        for step in range(60)
    ]
    assert sum(gaps[-10:]) < 0.2 * sum(gaps[:10])


def test_two_moments_are_two_unit_vectors():
    encoder = Run(Params(method="dp_mepf", **TINY)).encoder
    x = torch.randn(5, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    one, dim = dp_mepf.perceptual(encoder, (1, 28, 28), 1)
    both, twice = dp_mepf.perceptual(encoder, (1, 28, 28), 2)
    assert twice == 2 * dim
    said = both(x)
    torch.testing.assert_close(said[:, :dim], one(x))
    torch.testing.assert_close(said.norm(dim=1), torch.full((5,), 2**0.5))
    torch.testing.assert_close(said[:, dim:].norm(dim=1), torch.ones(5))


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory):
    """Random weights, in the form of torchvision's file."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vgg") / vgg.FILE
    torch.save(vgg.Vgg19().state_dict() | {"classifier.6.bias": torch.zeros(1000)}, path)
    return path


@pytest.mark.parametrize(("channels", "side"), [(3, 32), (1, 28)])
def test_vggs_activations_begin_and_end_with_those_of_torchvisions_network(vgg_file, channels, side):
    model = vgg.Vgg19().eval()
    model.load_state_dict(vgg.weights(vgg_file))
    x = torch.rand(2, channels, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        found = model.activations(x)
        seen = transforms.resize((x + 1) / 2, [32, 32], antialias=False).expand(-1, 3, -1, -1)
        seen = transforms.normalize(seen, vgg.MEAN, vgg.STD)
        first, last = model.features[:2](seen), model.features[:-1](seen)
    assert found.shape == (2, 303_104)  # as the paper counts
    torch.testing.assert_close(found[:, : first[0].numel()], first.flatten(1))
    torch.testing.assert_close(found[:, -last[0].numel() :], last.flatten(1))


def test_moments_of_vggs_features_train_a_generator_and_no_encoder(vgg_file):
    run = few("dp_mepf", {"vgg19": str(vgg_file), "matching_steps": 1})
    assert isinstance(run.encoder, Perceptual)
    assert run.synthesiser.curves["gap"].isfinite().all()


def test_a_file_that_is_not_vggs_is_refused_before_anything_is_asked(tmp_path):
    other = tmp_path / "other.pth"
    torch.save({"features.0.weight": torch.zeros(3)}, other)
    text = tmp_path / "text.pth"
    text.write_text("no weights")
    for path, error, said in (
        (tmp_path / "none.pth", FileNotFoundError, "is not a file"), (other, ValueError, "does not hold"),
        (text, ValueError, "does not hold"),
    ):  # fmt: skip
        p = Params(method="dp_mepf", options={"vgg19": str(path)}, **TINY)
        with pytest.raises(error, match=said):
            Run(p).plan


def test_candidates_are_drawn_in_proportion_to_what_their_counts_have_above_the_threshold():
    counts = torch.tensor([[0, 3, 11, 3, -5, 0, 0, 0], [1, 0, 2, 0, 0, 0, 0, -9]])
    chosen = dpsda.resampled(counts, 3.0, torch.Generator().manual_seed(0))
    assert chosen[0].tolist() == [2] * 8  # the only one above
    assert sorted(chosen[1].tolist()) == list(range(8))  # none above: each once
    shares = dpsda.resampled(counts, 1.0, torch.Generator().manual_seed(0))[0].bincount(minlength=8)
    assert shares[1] + shares[2] + shares[3] == 8 and 5 <= shares[2] <= 6  # 2 : 10 : 2 of 8


def test_a_variation_of_a_denoiser_stays_near_and_nearer_as_the_amplitude_falls():
    torch.manual_seed(0)
    api = dpsda.DenoiserApi(diffusion.Denoiser(1, 12, 4, 8).eval())
    state = api.random(torch.arange(6) % 4, seed=0)
    changes = [
        (api.vary(state, amplitude, seed=1)["images"].float() - state["images"].float()).square().mean().item()
        for amplitude in (0.0, 0.5, 1.0)
    ]
    assert 0 < changes[0] < changes[1] < changes[2]
    assert torch.equal(api.vary(state, 0.5, seed=1)["labels"], state["labels"])


def test_the_renderer_is_a_base_that_trains_nothing():
    run = Run(Params(method="dpsda", options=NEW["dpsda"], **TINY))
    base = run.base
    assert base.weights == {} and not base.private_labels
    assert isinstance(networks.rebuild(base.architecture, base.averaged), Renderer)
    images, _, names = pictures.preview(run, base, 2)
    assert images.shape == (20, 1, 28, 28) and names[0] == "class 0"
    assert recipes.settings_of(run.row.base, run.settings) == {"shape": (1, 28)}
    assert [e["mechanism"]["name"] for e in run.certificate["releases"]] == ["nearest_votes"]
