"""A run's synthetic images as a data set for others: layout, bytes, card, and what it does not tell."""

import hashlib
import json
import math
import re

import numpy as np
import pytest
import yaml
from PIL import Image

from dpsynth.budget.certificate import REPRODUCTION, Certificate
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.privacy.disk import EARLIEST
from dpsynth.report import dataset_card, datasets

LABELS = ("red: bright", "Blue")


@pytest.fixture
def own(root, tmp_path):
    """A finished run on a set of the user's own, 12 images; its base is fresh, so that no public set is read."""

    def finish(labels=LABELS):
        for number in range(12):
            folder = tmp_path / "secret place/photos" / (labels[number % 2] if labels else "")
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (20 * number, 0, 255 - 20 * number)).save(folder / f"{number}.png")
        declared = dict(private=f"folder:{tmp_path}/secret place/photos", n_records=12, labels=labels, size=8)
        sizes = dict(steps=1, sample_rate=0.5, width=8, n_synthetic=20, delta=1e-2, noise="secret")
        run = Run(Params(method="dpdm", **declared, **sizes))
        _ = run.samples
        return run

    return finish


def bytes_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_images_lie_in_one_folder_a_class_with_a_line_of_metadata_each(own, tmp_path):
    run, folder = own(), tmp_path / "out/set"
    assert datasets.export(run, folder) == 20
    lines = [json.loads(line) for line in (folder / "train/metadata.jsonl").read_text().splitlines()]
    assert [line["label"] for line in lines] == ["red_ bright", "Blue"] * 10
    assert {path.name for path in (folder / "train").iterdir()} == {"red_ bright", "Blue", "metadata.jsonl"}
    with np.load(folder / "synthetic.npz") as stored:
        images, labels = stored["images"], stored["labels"]
    assert (images == run.samples.images.numpy()).all() and (labels == run.samples.labels.numpy()).all()
    for line, image in zip(lines, images, strict=True):
        assert line["file_name"].startswith(f"{line['label']}/")
        with Image.open(folder / "train" / line["file_name"]) as stored:
            assert (np.asarray(stored) == image.transpose(1, 2, 0)).all() and not stored.info


def test_every_file_is_listed_by_its_digest_and_the_same_run_gives_the_same_bytes(own, tmp_path):
    run = own()
    for name in ("one", "two"):
        datasets.export(run, tmp_path / name)
    files = bytes_of(tmp_path / "one")
    assert files == bytes_of(tmp_path / "two")
    sums = dict(line.split("  ", 1)[::-1] for line in files.pop("SHA256SUMS").decode().splitlines())
    assert sums == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert {"README.md", "certificate.json", "synthetic.npz", "train/metadata.jsonl"} < files.keys()


def test_of_a_users_own_set_neither_place_nor_time_is_told_and_the_licence_is_left_to_them(own, tmp_path):
    run, folder = own(), tmp_path / "set"
    datasets.export(run, folder)
    assert not [name for name, content in bytes_of(folder).items() if b"secret place" in content]
    assert {path.stat().st_mtime for path in (folder, *folder.rglob("*"))} == {EARLIEST}
    card = (folder / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head["configs"] == [{"config_name": "default", "data_files": [{"split": "train", "path": "train/**"}]}]
    assert head["task_categories"] == ["image-classification"] and "license" not in head
    assert head["pretty_name"] == "Synthetic images of folder:photos, epsilon 10"
    certificate = json.loads((folder / "certificate.json").read_text())
    assert certificate["private"] == "folder:photos" and "A release: coins of the operating system" in card
    for line in (
        "20 images of 8x8 pixels, RGB, in 2 classes: `red_ bright`, `Blue`.",
        f"Epsilon {certificate['epsilon']:.4f} at delta 0.01, by PLD (dp-accounting), pessimistic; neighbours: "
        "add or remove one record.",
        "times of 100; which of two records was, ",
        "Nothing: the records of a user's own set stay closed",
        "To be chosen by those whose images these were learned from",
    ):
        assert line in card, line


def test_images_without_labels_lie_directly_in_the_split(own, tmp_path):
    datasets.export(own(labels=()), tmp_path / "set")
    assert (tmp_path / "set/train/00.png").exists()
    assert (tmp_path / "set/train/metadata.jsonl").read_text().splitlines()[0] == '{"file_name": "00.png"}'
    assert "unconditional-image-generation" in (tmp_path / "set/README.md").read_text()


def test_another_folder_is_never_replaced_and_the_same_set_stays(own, tmp_path):
    run, folder = own(), tmp_path / "set"
    folder.mkdir()
    (folder / "theirs.txt").write_text("theirs")
    with pytest.raises(ValueError, match=r"set exists, and is not this data set: name another folder"):
        datasets.export(run, folder)
    assert bytes_of(folder) == {"theirs.txt": b"theirs"}
    assert datasets.export(run, tmp_path / "again") == datasets.export(run, tmp_path / "again") == 20


def test_what_promises_no_privacy_is_not_exported(own, tmp_path, monkeypatch):
    run = own()
    seeded = Certificate(run.certificate | {"status": REPRODUCTION})
    monkeypatch.setattr(Run, "certificate", property(lambda self: seeded))
    with pytest.raises(ValueError, match="is not exported"):
        datasets.export(run, tmp_path / "set")
    twin = Run(Params(epsilon=math.inf))
    with pytest.raises(ValueError, match="non-private twin"):
        datasets.export(twin, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_the_card_of_a_benchmarks_reproduction_calls_it_not_private(root):
    run = Run(Params(method="dpdm", steps=1, sample_rate=0.01, width=8, n_synthetic=20, seed=3))
    _ = run.samples
    card = dataset_card.text(run, run.certificate, list(run.params.constants.classes))
    assert "**Not private**: the noise follows from seed 3." in card and "An attacker" not in card


def test_a_file_that_cannot_be_written_leaves_no_half_a_set(own, tmp_path, monkeypatch):
    run = own()
    monkeypatch.setattr(datasets, "sync", lambda path: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError):
        datasets.export(run, tmp_path / "set")
    assert not (tmp_path / "set").exists()
    monkeypatch.undo()
    monkeypatch.setenv("DPSYNTH_ROOT", str(tmp_path))
    assert datasets.export(run, tmp_path / "set") == 20


def test_every_setting_of_the_card_is_of_the_run_and_smoke_says_so(own, tmp_path):
    run = own()
    card = dataset_card.text(run, Certificate(run.certificate | {"private": "folder:photos"}), list(LABELS))
    assert "too small to mean anything" in card and re.search(r"at commit `\S+`", card)
