"""What can be known before a run's first private touch ends it there, with one sentence and nothing spent."""

import errno
import json
import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from dpsynth import device, preflight, privacy, sources, store, trainings
from dpsynth.budget import planning
from dpsynth.data import catalog
from dpsynth.methods import METHODS, gans
from dpsynth.models import networks, samplers
from dpsynth.models.classifier import Classifier
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.stages import pretrain

READERS = [
    ("rpgen", {"kept": 1, "votes": 1}), ("privimage_d", {"kept": 1, "votes": 1}), ("pdp_diffusion", {}), ("dp_ldm", {}),
    ("dp_ldm", {"latent": True}), ("dp_sapf", {}), ("dp_feta", {"warmup": "public"}), ("dpgan_p", {}),
    ("privimage_g", {"kept": 1, "votes": 1}), ("dp_mepf", {}), ("dpsda", {}), ("dpsda", {"api": "glyphs"}),
]  # fmt: skip
OTHERS = [("dpdm", {}), ("dpgan", {}), ("dp_feta", {}), ("dp_feta", {"warmup": "none"})]
VOTERS = ["rpgen", "privimage_d", "privimage_g"]


def images(folder, classes, each):
    draws = np.random.default_rng(len(classes))
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(each):
            Image.fromarray(draws.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(folder / name / f"{number}.png")


@pytest.fixture
def own(root, monkeypatch):
    """Makes runs of a folder of 40 records, with a public folder of 4 classes."""
    images(root / "own", ["cat", "dog"], 20)
    images(root / "free", "abcd", 3)
    kwargs = dict(private=f"folder:{root / 'own'}", public=f"folder:{root / 'free'}", n_records=40, size=8, width=8)
    kwargs |= dict(labels=["cat", "dog"], noise="secret", delta=1e-3, sample_rate=0.5, steps=1, pretrain_steps=1)
    kwargs |= dict(encoder_steps=1, n_synthetic=20)
    return lambda method="dpdm", options=None, **changes: Params(
        method=method, options=options or {}, **{**kwargs, **changes}
    )


@pytest.fixture
def quick(monkeypatch):
    """Plans that are priced, and not calibrated."""

    def plan(p, questions):
        return privacy.Plan(p.private, 40, p.epsilon, p.delta, tuple(questions) if math.isfinite(p.epsilon) else ())

    monkeypatch.setattr(planning, "plan", plan)
    monkeypatch.setattr(planning, "query_noise", lambda p, votes, learn: 40.0)
    monkeypatch.setattr(privacy.Ledger, "check", lambda *arguments: None)


def spent(root):
    return [json.loads(line) for path in root.glob("ledger/*.jsonl") for line in path.read_text().splitlines()]


def test_the_table_of_methods_is_tried_as_a_whole():
    assert {method for method, _ in (*READERS, *OTHERS)} == set(METHODS)


@pytest.mark.parametrize(("method", "options"), READERS)
def test_a_public_set_that_some_column_reads_is_opened_first(own, quick, root, method, options):
    Run(own(method, options)).check()
    shutil.rmtree(root / "free")
    with pytest.raises(FileNotFoundError, match="free"):
        Run(own(method, options)).check()
    images(root / "free", "abcd", 3)
    (root / "free/b/1.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"1\.png"):
        Run(own(method, options)).check()


@pytest.mark.parametrize(("method", "options"), READERS)
def test_records_that_are_public_too_are_refused(own, quick, monkeypatch, method, options):
    p = own(method, options)

    def shared(private, public):
        assert (private, public) == (p.private, p.public)
        raise ValueError("both have 3.png")

    monkeypatch.setattr(catalog, "refuse_shared_files", shared)
    with pytest.raises(ValueError, match=r"both have 3.png"):
        Run(p).check()


@pytest.mark.parametrize(("method", "options"), OTHERS)
def test_a_public_set_that_nothing_reads_is_left_alone(own, quick, monkeypatch, method, options):
    monkeypatch.setattr(catalog, "public", lambda *key: pytest.fail("it was read"))
    Run(own(method, options, public="folder:nowhere")).check()


@pytest.mark.parametrize("method", VOTERS)
@pytest.mark.parametrize(
    "options", [{"votes": 5, "kept": 1}, {"votes": 1, "kept": 3}, {"votes": 1, "kept": 5, "mode": "global"}]
)
def test_more_classes_than_there_are_is_refused_of_a_run_and_of_its_twin(own, quick, monkeypatch, method, options):
    with pytest.raises(ValueError, match="ask for more classes than the 4 of folder:"):
        Run(own(method, options)).check()
    if METHODS[method].learn.without_noise:
        twin = Params(method=method, epsilon=math.inf, options={**options, "votes": 1001})
        monkeypatch.setattr(catalog, "private", lambda *key, **declared: None)
        monkeypatch.setattr(preflight, "measures", lambda p: None)
        with pytest.raises(ValueError, match="ask for more classes than the 1000 of glyphs"):
            Run(twin).check()


@pytest.mark.parametrize(
    ("method", "options"), [r for r in READERS if r[1].get("latent") or r[0] in ("dp_mepf", "rpgen")]
)
def test_a_network_is_not_trained_on_one_image(own, quick, root, method, options):
    shutil.rmtree(root / "free")
    images(root / "free", "ab", 1)
    shutil.rmtree(root / "free/b")
    with pytest.raises(ValueError, match=r"holds one image|more classes"):
        Run(own(method, options)).check()


@pytest.mark.parametrize("text", [None, b"", b"no weights"])
def test_files_of_weights_are_looked_at_first(own, quick, root, monkeypatch, text):
    file = root / "weights.pth"
    if text is not None:
        file.write_bytes(text)
    sentence = r"weights.pth (is not a file|does not hold the weights)"
    with pytest.raises((FileNotFoundError, ValueError), match=sentence):
        Run(own("dp_mepf", {"vgg19": str(file)})).check()
    monkeypatch.setattr(catalog, "private", lambda *key, **declared: None)
    monkeypatch.setattr(catalog, "public", lambda *key: SimpleNamespace(images=()))
    with pytest.raises((FileNotFoundError, ValueError), match=sentence):
        Run(Params(inception=str(file))).check()


@pytest.mark.parametrize(
    ("method", "options", "changes", "said"),
    [
        (
            "dpdm",
            {},
            {"n_synthetic": 10**7},
            r"n_synthetic=10000000 images of 3x8x8 pixels need about 5\.4 GiB of memory",
        ),
        (
            "dp_mepf",
            {},
            {"size": 1024, "n_synthetic": 700},
            r"n_synthetic=700 images of 3x1024x1024 pixels need about 6\.2",
        ),
        (
            "dpsda",
            {"candidates": 10**6},
            {},
            r"candidates=1000000 for each of 2 labels, of 3x8x8 pixels, need about 1\.1",
        ),
        (
            "pdp_diffusion",
            {},
            {"size": 256},
            r"a batch of images of 3x256x256 pixels in a network of width 8 and attention",
        ),
        (
            "dp_sapf",
            {},
            {"size": 64},
            r"a batch of images of 3x64x64 pixels in a network of width 8 and attention 'every'",
        ),
    ],
)
def test_what_does_not_fit_in_memory_is_refused(own, monkeypatch, method, options, changes, said):
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**18}
    monkeypatch.setattr(preflight.os, "sysconf", pages.get)
    usual = Run(own(method))
    preflight.memory(usual.params, usual.row, usual.settings)
    with pytest.raises(ValueError, match=f"{said}.* and this machine has 1.0; lower"):
        Run(own(method, options, **changes)).check()


@pytest.fixture
def card(monkeypatch):
    """A GPU with so many GiB, where there is none."""

    def of(gibibytes):
        monkeypatch.setattr(device, "on_gpu", lambda: True)
        monkeypatch.setattr(device, "card", lambda: "NVIDIA A")
        monkeypatch.setattr(device, "placed", lambda network: network)
        monkeypatch.setattr(device, "precision", lambda: torch.bfloat16)
        monkeypatch.setattr(device, "memory_bytes", lambda: int(gibibytes * 2**30))

    return of


def test_a_micro_batch_that_a_gpu_has_no_memory_for_is_refused_with_one_that_it_has(own, card, monkeypatch):
    run = Run(own(width=64, size=32, noise_multiplicity=1, pretrain_batch=8))
    (dp_sgd,) = trainings.trainings(run.params, run.row, run.settings)
    card(1000)
    preflight.memory(run.params, run.row, run.settings)
    (dp_sgd,) = trainings.trainings(run.params, run.row, run.settings)
    assert dp_sgd.at_once == 2048
    needs = {rows: trainings.step_bytes(dp_sgd, rows) / 2**30 for rows in (256, 512, 1024, 2048)}
    assert 1.8 < needs[1024] / needs[512] < 2.1
    card((needs[512] + needs[1024]) / 2)
    said = rf"a micro-batch of DP-SGD, 2048 images of 3x32x32 pixels, need about {needs[2048]:.1f} GiB of memory, and "
    with pytest.raises(preflight.TooLarge, match=said + r"the GPU .NVIDIA A. has .*; set DPSYNTH_MICROBATCH=512$"):
        preflight.memory(run.params, run.row, run.settings)
    monkeypatch.setenv("DPSYNTH_MICROBATCH", "512")
    preflight.memory(run.params, run.row, run.settings)


def test_a_micro_batch_has_a_gradient_of_all_weights_for_each_record_and_its_activations_twice(own, card):
    card(1000)
    at = {}
    for views in (1, 8):
        run = Run(own(width=64, size=32, noise_multiplicity=views))
        (of,) = trainings.trainings(run.params, run.row, run.settings)
        at[views] = trainings.step_bytes(of)
    with torch.device("meta"):
        network = trainings.network_of(of.network)
    n = sum(w.numel() for w in network.net.parameters())
    assert at[1] - at[8] == (2048 - 256) * n * 2
    assert at[8] == 256 * n * 2 + 2 * trainings.kept_bytes(network, 2048) + 20 * n


def test_a_batch_of_public_training_that_does_not_fit_is_refused_by_its_setting(own, card):
    run = Run(own("pdp_diffusion", size=32, width=64, pretrain_batch=10**5))
    card(8)
    with pytest.raises(preflight.TooLarge, match=r"^50000 images of .* in the training of the base .* pretrain_batch$"):
        preflight.memory(run.params, run.row, run.settings)


def test_memory_is_the_gpus_where_there_is_one(monkeypatch):
    monkeypatch.setattr(device, "on_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda: SimpleNamespace(total_memory=7))
    assert device.memory_bytes() == 7 < device.host_bytes()
    monkeypatch.setattr(device, "on_gpu", lambda: False)
    assert device.memory_bytes() == device.host_bytes()


def test_a_batchs_memory_is_what_its_graph_keeps():
    kept = {}
    architecture = pretrain.architecture((3, 32), 2, 8, "edm", "every")
    model = networks.build(architecture)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.setdefault(t.untyped_storage().data_ptr(), t), id):
        said = model(
            torch.zeros(preflight.ROWS, 3, 32, 32), torch.ones(preflight.ROWS), torch.zeros(preflight.ROWS).long()
        )
    real = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    assert said.requires_grad and abs(preflight.batch_bytes(architecture) / real - 1) < 0.1


@pytest.mark.parametrize("name", ["build", "cache", "ledger"])
def test_a_folder_that_cannot_be_written_is_named_first(own, quick, root, monkeypatch, name):
    (root / name).write_text("in the way")
    with pytest.raises(ValueError, match=f"{name} cannot be written .Not a directory.; nothing was begun"):
        Run(own()).check()
    (root / name).unlink()
    (root / name).mkdir()
    full = OSError(errno.EROFS, "Read-only file system")

    def refuse(dir):
        if dir == root / name:
            raise full
        return tempfile(dir=dir)

    tempfile = preflight.tempfile.TemporaryFile
    monkeypatch.setattr(preflight.tempfile, "TemporaryFile", refuse)
    with pytest.raises(ValueError, match=f"{name} cannot be written .Read-only file system."):
        Run(own()).check()


def test_a_full_disk_is_said_first(own, quick, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: usage._replace(free=400_000))
    with pytest.raises(ValueError, match=r"build has 0\.4 MiB left, and a run needs 64 or more; make room"):
        Run(own()).check()


def test_a_benchmarks_held_out_split_is_opened_too(quick, root, monkeypatch):
    def private(name, split, **declared):
        if split == "test":
            raise ValueError("the test files are broken")

    monkeypatch.setattr(catalog, "private", private)
    with pytest.raises(ValueError, match="the test files are broken"):
        Run(Params()).check()


@pytest.mark.parametrize("text", ["garbage\n", '{"open": "x"}\n', '{"open": "x", "digest": "0"}\n'])
def test_a_damaged_ledger_is_refused_in_the_plan(own, quick, root, text):
    path = Run(own()).ledger.path
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(ValueError, match="restore the file"):
        Run(own()).check()


@pytest.mark.parametrize(
    ("method", "options"), [("dpdm", {}), ("dp_mepf", {}), ("dp_feta", {}), ("dpsda", {"candidates": 2})]
)
def test_a_release_that_is_closed_and_gone_is_refused_in_the_plan(own, root, method, options):
    p = own(method, options)
    ways = (
        "" if method == "dp_feta" else ", or choose another seed, and one more in releases:, which is a further release"
    )  # central images have none
    Run(p).check()
    assert not spent(root)
    Run(p).synthesiser
    before = spent(root)
    Run(p).check()
    shutil.rmtree(root / "build")
    with pytest.raises(privacy.BudgetError, match=rf"coins are gone.*restore .*build.* from a copy of build/{ways}$"):
        Run(p).check()
    with pytest.raises(privacy.BudgetError, match=r"restore .*build"):
        Run(p).synthesiser
    assert spent(root) == before and not list(root.glob("build/artifacts/synthesiser-*[!k]"))
    if ways:
        with pytest.raises(privacy.BudgetError, match=r"has 1 releases of .* allows 1 in all; raise it to 2"):
            Run(p.replace(seed=1)).check()
        Run(p.replace(seed=1, releases=2)).check()


def test_a_release_that_stands_without_its_entry_is_refused_in_the_plan(own, root):
    p = own()
    Run(p).synthesiser
    Run(p).ledger.path.unlink()
    with pytest.raises(ValueError, match=r"held 2 entries that are not all there any more"):
        Run(p).check()
    shutil.rmtree(root / "ledger" / "heads")  # which would have told
    with pytest.raises(ValueError, match=r"synthesiser-.* stands, but .*jsonl has no entry for it: restore the ledger"):
        Run(p).check()


def test_a_killed_release_may_go_on(own, root, monkeypatch):
    def killed(value):
        raise KeyboardInterrupt

    p = own()
    assert Run(p).plan.is_private and Run(p).base  # what is public stands
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(store, "_split", killed)
        Run(p).synthesiser
    assert len(spent(root)) == 1
    Run(p).check()
    Run(p).synthesiser
    assert len([entry for entry in spent(root) if "open" in entry]) == 1


@pytest.mark.parametrize(
    ("method", "stage"),
    [("pdp_diffusion", "base"), ("rpgen", "encoder"), ("dp_mepf", "encoder"), ("dpsda", "base")],
)
def test_a_public_folder_with_records_is_refused_by_each_notebook_alone(own, root, method, stage):
    """Else a base would be trained on records, and everything after it certified."""
    (root / "free" / "e").symlink_to(root / "own" / "cat")
    p = own(method, {"kept": 1, "votes": 1} if method == "rpgen" else {})
    for step in (lambda: Run(p).artifact(stage), Run(p).check):
        with pytest.raises(ValueError, match=r"free/e.* of the public set is .*own/cat.* of the private one"):
            step()
    assert not list(root.glob("build/artifacts/base-*")) and not spent(root)


def test_an_artifact_whose_ancestors_were_edited_is_named_in_the_plan(own):
    """Else what they released would drop out of the budget."""
    p = own("dp_feta")
    made = Run(p).synthesiser.artifact
    meta = json.loads((made.path / "meta.json").read_text())
    (made.path / "meta.json").write_text(json.dumps({**meta, "lineage": []}))
    with pytest.raises(ValueError, match=rf"{made.path}/meta.json was edited: .* other ancestors; restore it"):
        Run(p).check()


@pytest.mark.parametrize("text", ['{"format": 0}', '{"format": 1, "fie', ""])
def test_an_artifact_that_is_not_whole_is_named_in_the_plan(own, quick, text):
    p = own("pdp_diffusion")
    base = Run(p).recipe("base").path
    base.mkdir(parents=True)
    (base / "meta.json").write_text(text)
    with pytest.raises(ValueError, match=f"{base}.*restore it from a copy"):
        Run(p).check()


@pytest.mark.parametrize(
    ("method", "options", "kind"),
    [("rpgen", {"kept": 1, "votes": 1}, "release"), ("dp_sapf", {}, "probe"), ("dpgan", {"prior": "noisy"}, "prior"),
     ("dpdm", {}, "synthesiser")],
)  # fmt: skip
def test_a_notebook_that_is_started_alone_is_as_careful(own, quick, root, monkeypatch, method, options, kind):
    def refuse(run):
        assert run.params == p and run.private.n_records == 40
        asked.append(kind)
        raise ValueError("not so")

    p, asked = own(method, options), []
    monkeypatch.setattr(Run, "check", refuse)
    for _ in range(2):
        with pytest.raises(ValueError, match="not so"):
            Run(p).synthesiser
    assert asked == [kind, kind] and not spent(root) and not list(root.glob(f"build/artifacts/{kind}-*[!k]"))


def test_a_run_is_looked_over_once_before_it_first_asks(own, root, monkeypatch):
    checked, check = [], Run.check
    monkeypatch.setattr(Run, "check", lambda run: checked.append(run) or check(run))
    run = Run(own("dp_feta"))
    assert run.release and run.synthesiser and checked == [run]
    assert Run(own("dp_feta")).synthesiser and checked == [run]  # all of it stands


def test_the_check_is_no_part_of_what_an_artifact_depends_on():
    seen = {}
    sources._visit("dpsynth.stages.dp_sgd", "dp_sgd", seen)
    modules = {place.partition(":")[0] for place in seen}
    assert "dpsynth.privacy.private" in modules and not modules & {"dpsynth.preflight", "dpsynth.pipeline"}
    assert not [module for module in modules if module.startswith(("dpsynth.methods", "dpsynth.figures"))]


@pytest.mark.parametrize("size", [8, 12, 20, 28, 36, 52])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_network_takes_every_size_that_parameters_allow(size, channels):
    shape, labels = (channels, size), torch.tensor([0, 1, 1])
    for architecture in (
        pretrain.architecture(shape, 2, 8, "edm", "every"),
        {"network": "latent_denoiser", "channels": channels, "size": size, "n_labels": 2, "width": 8},
        gans.initial(shape, 2, 8, 0).architecture,
    ):
        made = networks.build(architecture)
        assert samplers.sample(made, labels, 0).shape == (3, channels, size, size)
    assert made.discriminator(torch.zeros(3, channels, size, size), labels).shape == (3,)
    encoder = Classifier(channels, 2).eval()
    assert encoder(torch.zeros(3, channels, size, size)).shape == (3, 2)
