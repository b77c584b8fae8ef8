"""Every method through every stage at tiny sizes, on digits and on a folder of colour images."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dpsynth import privacy
from dpsynth.data import glyphs
from dpsynth.methods import METHODS
from dpsynth.metrics import classifiers, distances
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.report import pictures, run_files
from dpsynth.stages import dp_sgd, label_prior, pretrain
from dpsynth.steps import private_steps

TINY = dict(
    steps=2, sample_rate=0.01, noise_multiplicity=2, pretrain_steps=2, encoder_steps=2, extractor_steps=2, width=8,
    n_synthetic=20,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """40 colour images in two classes: red discs and blue bars, 20x24 pixels."""
    path, draws = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for name, colour in (("red", (200, 30, 30)), ("blue", (30, 30, 200))):
        (path / name).mkdir()
        for number in range(20):
            picture = np.clip(draws.normal(colour, 20, (24, 20, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(path / name / f"{number}.png")
    return path


def folder_params(folder, **changes):
    declared = dict(private=f"folder:{folder}", n_records=40, labels=("red", "blue"), size=16, noise="secret")
    declared |= {"releases": 1000}  # one set serves many tests
    return Params(**{**TINY, **declared, "sample_rate": 0.1, "options": {"kept": 2}, **changes})


@pytest.mark.parametrize("method", METHODS)
def test_each_method_spends_what_its_plan_says_and_yields_labelled_images(tiny_root, method):
    run = Run(Params(method=method, **TINY))
    said = run.certificate
    names = [entry["mechanism"]["name"] for entry in said["releases"]]
    assert names == [step.name for step in private_steps(METHODS[method]).values()]
    assert names == [mechanism.name for mechanism in run.plan.mechanisms]
    assert 9.99 <= said["epsilon"] <= 10
    assert said["status"].startswith("a reproduction")
    samples = run.samples
    assert samples.images.shape == (20, 1, 28, 28) and samples.labels.bincount().tolist() == [2] * 10


def test_equal_work_is_shared_between_methods_and_private_work_is_counted_once(tiny_root):
    rpgen, privimage = (Run(Params(method=m, **TINY)) for m in ("rpgen", "privimage_d"))
    assert rpgen.release.artifact.digest == privimage.release.artifact.digest
    assert rpgen.corpus.artifact.digest == privimage.corpus.artifact.digest
    assert rpgen.base.artifact.digest != privimage.base.artifact.digest
    assert pictures.with_and_without(rpgen)["without AMP"].artifact.digest == privimage.base.artifact.digest
    rpgen.synthesiser, privimage.synthesiser
    entries = rpgen.ledger.entries()
    asked = [e for e in entries if "open" in e and e["mechanism"]["name"] == "semantic_histogram"]
    assert len(asked) == len({e["open"] for e in asked})


def test_the_non_private_twin_says_so_and_writes_nothing_to_the_ledger(tiny_root):
    run = Run(Params(method="dpdm", epsilon=math.inf, **TINY))
    before = run.ledger.entries()
    run.synthesiser
    assert run.certificate["status"].startswith("none") and run.ledger.entries() == before
    assert run.row_name == "nonprivate"


def test_labels_of_a_public_corpus_do_not_survive_into_the_private_ones(tiny_root):
    base = Run(Params(method="pdp_diffusion", **TINY)).base
    model = dp_sgd.ready(base, 10, seed=0)
    assert base.architecture["n_labels"] == 1000 and model.null == 10
    fresh = pretrain.initial(model.architecture, 0).net.label.weight
    assert torch.equal(model.net.label.weight[:-1], fresh[:-1])
    assert torch.equal(model.net.label.weight[-1], base.averaged["net.label.weight"][-1])
    mapped = Run(Params(method="privimage_d", **TINY)).base
    assert torch.equal(dp_sgd.ready(mapped, 10, 0).net.label.weight, mapped.averaged["net.label.weight"])


@pytest.mark.parametrize("method", ["rpgen", "dpdm"])
def test_a_folder_of_colour_images_gets_a_release_with_destroyed_coins(tiny_root, folder, method, capfd):
    p = folder_params(folder, method=method, options={"kept": 2} if method == "rpgen" else {}, delta=1e-3)
    run = Run(p)
    said = run.certificate
    assert said["status"].startswith("a release") and said["noise"] == "secret" and said["epsilon"] <= 10
    assert not list((tiny_root / "ledger" / "keys").iterdir())
    assert run.samples.images.shape == (20, 3, 16, 16)
    assert run.measurements == {} and list(run.rows) == [method]
    assert "seconds" not in run.synthesiser.artifact.meta
    with pytest.raises(PermissionError, match="its records stay closed"):
        dp_sgd.without_privacy(None, run.private, None, seed=0, learning_rate=1, average=0, sample_rate=1,
                                 trainable="all", steps=1, noise_multiplicity=1, augment=None)  # fmt: skip


def test_what_is_printed_and_logged_does_not_depend_on_the_records(tiny_root, tmp_path_factory, capfd):
    said = []
    for value in (0, 255):
        path = tmp_path_factory.mktemp("same") / "set"
        path.mkdir()
        for number in range(40):
            Image.fromarray(np.full((16, 16, 3), value if number else 255 - value, np.uint8)).save(
                path / f"{number}.png"
            )
        capfd.readouterr()
        p = folder_params(path, method="dpdm", labels=(), options={}, delta=1e-3)
        made = Run(p).synthesiser
        output = capfd.readouterr()
        meta = json.loads((made.artifact.path / "meta.json").read_text())
        for volatile in ("digest", "lineage", "upstream"):
            meta.pop(volatile)
        said.append(((output.out + output.err).replace(str(path), "the folder"), json.dumps(meta)))
    assert "reading folder:the folder: file 40/40" in said[0][0]
    assert "step 2/2" in said[0][0] and "epsilon so far" in said[0][0]
    assert said[0] == said[1]


def test_recall_falls_with_noise(tiny_root):
    found = pictures.recall_curve(Run(Params(method="rpgen", **TINY)), n_draws=4)
    means = found["recall"].mean(1)
    assert found["recall"].shape == (len(found["noise"]), 4)
    assert 0 <= means[-1] < means[0] / 2 <= 0.5
    assert (found["epsilon"].diff() < 0).all()


def test_a_query_that_eats_the_budget_is_refused_before_the_ledger_is_written(root, folder):
    p = folder_params(folder, method="rpgen", epsilon=0.5, delta=1e-3, options={"query_noise": 1.0})
    with pytest.raises(privacy.BudgetError, match="alone costs"):
        Run(p).synthesiser
    assert not (root / "ledger").exists()


@pytest.mark.parametrize("options", [{"kept": 600}, {"votes": 1001}])
def test_asking_for_more_classes_than_there_are_is_refused_before_anything_is_asked(tiny_root, folder, options):
    p = folder_params(folder, method="rpgen", delta=1e-3, options=options)
    before = Run(p).ledger.entries()
    with pytest.raises(ValueError, match="more classes than the 1000 of glyphs"):
        Run(p).synthesiser
    assert Run(p).ledger.entries() == before


def test_the_store_names_the_thread_count_that_the_bits_depend_on(tiny_root):
    base = Run(Params(method="dpdm", **TINY)).base
    assert base.artifact.meta["threads"] == torch.get_num_threads()


def test_a_noisy_label_prior_is_in_the_plan_the_ledger_and_the_samples(tiny_root, folder):
    p = folder_params(folder, method="dpdm", options={"prior": "noisy"}, delta=1e-3)
    run, uniform = Run(p), p.replace(options={})
    plan = run.plan
    assert [m.name for m in plan.mechanisms] == ["label_histogram", "dp_sgd"]
    assert plan.mechanisms[-1].noise_multiplier > Run(uniform).plan.mechanisms[-1].noise_multiplier
    prior, said = run.prior, run.certificate
    assert prior.artifact.digest in run.synthesiser.artifact.lineage
    assert [e["mechanism"]["name"] for e in said["releases"]] == ["label_histogram", "dp_sgd"]
    assert 9.99 <= said["epsilon"] <= 10
    assert torch.equal(run.samples.labels, label_prior.proportional(prior, 20))
    with pytest.raises(ValueError, match="prior: noisy asks how frequent each label is"):
        Run(p.replace(labels=()))
    twin = Run(Params(method="dpdm", epsilon=math.inf, options={"prior": "noisy"}, **TINY))
    assert [m.name for m in twin.plan.mechanisms] == ["label_histogram"] and "permit" in twin.recipe("prior").inputs


def test_the_papers_networks_go_through_every_stage(tiny_root, folder):
    unet = {"levels": [1, 2], "blocks": 1, "attention": [8]}
    p = folder_params(folder, method="privimage_d", delta=1e-3, encoder_network="resnet18", encoder_batch=2)
    run = Run(p.replace(options={"kept": 2, "unet": unet, "augment": "flips"}))
    samples = run.samples
    assert samples.images.shape == (20, 3, 16, 16) and run.encoder.network == "resnet18"
    assert run.synthesiser.architecture["unet"] == unet and run.certificate["epsilon"] <= 10
    pair = Run(folder_params(folder, method="dpgan", delta=1e-3, size=32, options={"gan_network": "biggan"}))
    assert pair.samples.images.shape == (20, 3, 32, 32) and pair.certificate["epsilon"] <= 10
    assert pair.synthesiser.architecture["network"] == "biggan_generator"


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("dp_mepf", {"matching_steps": 1}),
        ("dpsda", {"iterations": 1, "candidates": 2, "lookahead": 1, "api": "glyphs"}),
    ],
)
def test_methods_that_ask_by_features_take_those_of_a_resnet(tiny_root, folder, method, options):
    p = folder_params(folder, method=method, delta=1e-3, encoder_network="resnet18", encoder_batch=2, options=options)
    assert Run(p).samples.images.shape == (20, 3, 16, 16)


@pytest.mark.parametrize(
    ("method", "options", "sentence"),
    [
        ("privimage_d", {"unet": {"levels": [1, 1, 1, 1, 1, 1]}}, "unet: 6 levels halve a side 5 times"),
        ("dpdm", {"unet": {"attention": [32]}}, "unet: attention at 32 pixels, but the levels have 16, 8, 4"),
        ("dp_ldm", {"unet": {"attention": [16]}, "latent": True}, "unet: attention at 16 pixels, .* have 4, 2, 1"),
        ("dpgan", {"gan_network": "biggan"}, "gan_network: biggan draws images of 32 or 64 pixels, and these have 16"),
    ],
)
def test_a_network_that_cannot_be_is_refused_before_anything_is_asked(tiny_root, folder, method, options, sentence):
    p = folder_params(folder, method=method, delta=1e-3, options=options)
    before = Run(p).ledger.entries()
    with pytest.raises(ValueError, match=f"^{sentence}"):
        Run(p).check()
    assert Run(p).ledger.entries() == before


def test_methods_that_only_select_weights_share_the_base_of_pdp_diffusion(tiny_root):
    pdp, ldm, same = (
        Run(Params(method=method, options=options, **TINY)).base.artifact.digest
        for method, options in (("pdp_diffusion", {}), ("dp_ldm", {}), ("dp_sapf", {"attention": "middle"}))
    )
    assert pdp == ldm == same
    assert Run(Params(method="dp_sapf", **TINY)).base.artifact.digest != pdp


def test_only_the_light_weights_move(tiny_root):
    run = Run(Params(method="dp_ldm", **TINY))
    before, after = dp_sgd.ready(run.base, 10, run.params.seed).state_dict(), run.synthesiser.weights
    moved = {name.split(".")[1] for name, w in after.items() if not torch.equal(w, before[name])}
    assert moved == {"attention", "label", "time", "stem"}


def test_what_a_synthesiser_says_of_itself_stands_beside_its_metrics_alone(tiny_root, monkeypatch):
    for module, name in ((classifiers, "accuracies"), (distances, "between")):
        monkeypatch.setattr(module, name, lambda *args: {"CA-CNN": 50.0})
    for trainable, low, high in (("light", 1, 99), ("all", 100, 100)):
        run = Run(Params(method="dp_ldm", options={"trainable": trainable}, **TINY))
        table = pd.read_csv(run_files.write_metrics(run)).set_index(["method", "metric"])["value"]
        assert table["dp_ldm", "CA-CNN"] == 50.0
        assert low <= table["dp_ldm", "learning-percent"] <= high
        assert list(table["real"].index) == ["CA-CNN"]
    run = Run(Params(method="dp_ldm", **TINY))
    parts = pictures.learning_parts(run).values()
    assert run_files.facts(run)["learning-percent"] == pytest.approx(
        100 * sum(learn for learn, _ in parts) / sum(every for _, every in parts)
    )


@pytest.mark.parametrize("low_rank", [True, False])
def test_only_the_chosen_matrices_and_the_labels_move(tiny_root, low_rank):
    run = Run(Params(method="dp_sapf", options={"low_rank": low_rank, "share": 0.5}, **{**TINY, "pretrain_steps": 3}))
    before, after = dp_sgd.ready(run.base, 10, run.params.seed).state_dict(), run.synthesiser.weights
    moved = {name for name, w in after.items() if not torch.equal(w, before[name])}
    _, _, chosen, _ = pictures.chosen_matrices(run)
    assert len(chosen) == 6
    assert moved <= {f"{name}.weight" for name in chosen} | {"net.label.weight"} and len(moved) > 1


def test_a_base_without_labels_speaks_none_and_is_no_reference_row(tiny_root):
    run = Run(Params(method="privimage_d", options={"conditional": False}, **TINY))
    assert run.base.architecture["n_labels"] == 1 and not run.base.private_labels
    assert list(run.rows) == ["privimage_d", "floor_public", "real"]
    assert pictures.preview(run, run.base, 2)[2] == ["class 0"]


@pytest.mark.parametrize(("warmup", "same"), [("none", "dpdm"), ("public", "pdp_diffusion")])
def test_without_central_images_dp_feta_is_a_method_that_asks_nothing(tiny_root, warmup, same):
    run, other = Run(Params(method="dp_feta", options={"warmup": warmup}, **TINY)), Run(Params(method=same, **TINY))
    assert run.release is None
    assert run.synthesiser.artifact.digest == other.synthesiser.artifact.digest


@pytest.mark.parametrize(
    ("method", "options"),
    [("dp_ldm", {"latent": True}), ("dp_ldm", {}), ("dp_sapf", {"score": "votes"}), ("dp_feta", {}),
     ("dp_feta", {"centre": "mode"})],
)  # fmt: skip
def test_images_without_labels_are_one_class(tiny_root, folder, method, options):
    p = folder_params(folder / "red", method=method, n_records=20, labels=(), options=options, delta=1e-3)
    run = Run(p)
    samples, said = run.samples, run.certificate
    assert samples.images.shape == (20, 3, 16, 16) and not samples.labels.any()
    assert len(said["releases"]) == len(run.plan.mechanisms) and said["epsilon"] <= 10


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [
        ("dp_sapf", {}, "its dp_sgd"),
        ("dp_sapf", {"choice": "all"}, "its dp_sgd"),
        ("dp_mepf", {}, "its mean_embedding"),
    ],
)
def test_methods_without_a_twin_say_which_question_needs_noise(method, options, said):
    with pytest.raises(ValueError, match=f"{method} has no non-private twin: {said}"):
        Run(Params(method=method, epsilon=math.inf, options=options))


def test_more_saliency_votes_than_matrices_are_refused_before_anything_is_asked(tiny_root, folder):
    p = folder_params(folder, method="dp_sapf", delta=1e-3, options={"score": "votes", "saliency_votes": 13})
    before = Run(p).ledger.entries()
    with pytest.raises(ValueError, match="saliency_votes=13, but the network has only 12 candidate matrices"):
        Run(p).synthesiser
    assert Run(p).ledger.entries() == before


@pytest.mark.parametrize(
    ("method", "fails"),
    [
        ("rpgen", "stages.query.classifier"),
        ("dpdm", "stages.dp_sgd.privacy.per_example"),
        ("dp_sapf", "methods.dp_sapf.lora.candidates"),
        ("dpgan", "methods.gans.ready"),
        ("dp_mepf", "methods.dp_mepf.perceptual"),
        ("dpsda", "methods.dpsda.PopulationState"),
    ],
)
def test_what_fails_in_public_preparation_has_opened_no_entry(root, monkeypatch, method, fails):
    """A population that does not fit into memory, say: what an entry says was asked counts for ever."""
    monkeypatch.setattr(glyphs, "PER_CLASS", 4)

    def fail(*args, **settings):
        raise MemoryError

    monkeypatch.setattr(f"dpsynth.{fails}", fail)
    p = Params(method=method, options={"api": "glyphs"} if method == "dpsda" else {}, **TINY)
    with pytest.raises(MemoryError):
        Run(p).synthesiser
    assert not Run(p).ledger.path.exists()


@pytest.mark.parametrize(("method", "epsilon", "kind"), [
    ("dpdm", 10.0, "synthesiser"), ("dpdm", math.inf, "twin"), ("dpgan", 10.0, "synthesiser"),
    ("pdp_diffusion", 10.0, "base"), ("dp_mepf", 10.0, "encoder"),
])  # fmt: skip
def test_training_that_diverges_ends_before_samples_and_certificate(tiny_root, monkeypatch, method, epsilon, kind):
    def overflow(optimizer, *_):
        for weights in optimizer.param_groups[0]["params"]:
            weights.data *= 1e30

    p = Params(method=method, epsilon=epsilon, seed=9, **TINY)
    for optimizer in (torch.optim.Adam, torch.optim.AdamW):  # the second inherits it, and keeps what it is wrapped in
        monkeypatch.setattr(optimizer, "step", overflow)
    made = set(tiny_root.rglob("samples-*"))
    for _ in range(2):  # the same coins, the same end
        with pytest.raises(ValueError, match=rf"^{kind}: weights/.* is not finite, its training diverged: .* lower"):
            Run(p).samples
    assert set(tiny_root.rglob("samples-*")) == made
