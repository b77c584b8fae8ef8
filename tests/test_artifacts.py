"""A corpus is rows of a public set: what is stored of it, when its images are looked up, and when they are refused."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from dpsynth import store
from dpsynth.artifacts import Corpus
from dpsynth.data.shapes import Rows
from dpsynth.params import Params
from dpsynth.pipeline import Run


@pytest.fixture
def own(root):
    """Runs of a folder of eight records, with a public folder of two classes of three images."""
    draws = np.random.default_rng(0)
    for folder, each in (("own/cat", 4), ("own/dog", 4), ("free/a", 3), ("free/b", 3)):
        (root / folder).mkdir(parents=True)
        for number in range(each):
            pixels = draws.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{number}.bmp")
    kwargs = dict(private=f"folder:{root / 'own'}", public=f"folder:{root / 'free'}", n_records=8, size=8, width=8)
    kwargs |= dict(labels=["cat", "dog"], noise="secret", delta=1e-2, sample_rate=0.5, steps=1, pretrain_steps=1)
    return lambda **changes: Run(Params(method="pdp_diffusion", **{**kwargs, **changes}))


def test_a_corpus_is_stored_as_rows_and_comes_back_with_its_images(own):
    run = own()
    with safe_open(run.corpus.artifact.path / "tensors.safetensors", "pt") as tensors:
        assert sorted(tensors.keys()) == ["labels", "rows"]
    assert "public" not in run.corpus.artifact.meta["fields"]
    for corpus in (run.corpus, own().corpus):
        assert isinstance(corpus.pixels, Rows) and corpus.images is None
        assert corpus.pixels[:].equal(run.public.images) and corpus.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_the_attached_set_is_not_compared(own):
    corpus = own().corpus
    bare = store.load(corpus.artifact.path, Corpus)
    fields = [(one.n_labels, one.chosen, one.provenance, one.content) for one in (bare, corpus)]
    assert bare.public is None and fields[0] == fields[1] and "public" not in repr(corpus)
    assert not next(field for field in corpus.__dataclass_fields__.values() if field.name == "public").compare


def test_images_of_its_own_are_the_corpus(own):
    images = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    assert Corpus(images, torch.zeros(3), 1, True, [], "released, or of an earlier version").pixels is images


def test_rows_without_their_set_have_no_images(own):
    bare = store.load(own().corpus.artifact.path, Corpus)
    with pytest.raises(ValueError, match=r"rows .all of folder:.* has its images from a run: ask `Run"):
        _ = bare.pixels


CHANGES = {
    "one more": lambda free: shutil.copy(free / "a/0.bmp", free / "a/00.bmp"),
    "one fewer": lambda free: (free / "b/1.bmp").unlink(),
    "renamed": lambda free: (free / "a/0.bmp").rename(free / "a/9.bmp"),
    "of another size": lambda free: Image.new("RGB", (9, 9)).save(free / "a/1.bmp"),
    "moved": lambda free: [(free / "a/0.bmp").rename(free / "b/9.bmp"), (free / "b/0.bmp").rename(free / "a/0.bmp")],
    "a class renamed": lambda free: (free / "a").rename(free / "c"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_set_that_changed_since_its_rows_were_chosen_is_refused_before_a_record_is_asked(own, root, change):
    path = own().corpus.artifact.path
    change(root / "free")
    for refused in (lambda run: run.base, lambda run: run.check(), lambda run: run.synthesiser):
        with pytest.raises(ValueError, match=f"holds other images than when {path} was chosen from it: put its files"):
            refused(own())
    assert not list(root.glob("ledger/*.jsonl"))


def test_a_corpus_that_was_deleted_is_chosen_again(own, root):
    path = own().corpus.artifact.path
    CHANGES["one more"](root / "free")
    shutil.rmtree(path)
    assert len(own().corpus.pixels) == 7 and own().base.weights


def test_a_set_that_is_gone_is_missed_before_a_record_is_asked(own, root):
    _ = own().corpus
    shutil.rmtree(root / "free")
    with pytest.raises(FileNotFoundError, match="free does not exist"):
        own().check()


def test_a_base_that_stands_needs_no_public_set_for_what_follows(own, root, monkeypatch):
    base = own().base
    CHANGES["one more"](root / "free")
    own().check()
    assert own().synthesiser.weights.keys() == base.weights.keys()


def test_a_copy_of_the_set_with_other_times_is_the_same(own, root):
    _ = own().corpus
    (root / "free").rename(root / "away")
    shutil.copytree(root / "away", root / "free", copy_function=shutil.copyfile)
    assert len(own().corpus.pixels) == 6
