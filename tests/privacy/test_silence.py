"""Each method on a set and on that set with one extreme record more, under the same coins: what leaves before the
release (printed, logged, written) is the same to the byte, times apart."""

import json
import logging
import os
import re
import secrets
import shutil

import pytest
import torch

from dpsynth import data, glyphs
from dpsynth.interfaces import Release
from dpsynth.methods import METHODS
from dpsynth.params import Params
from dpsynth.privacy import Private
from dpsynth.stages import finetune, query

RELEASED = ("prior", "release", "probe", "synthesiser")  # under noise, in their tensors
PUBLIC = ("encoder", "corpus", "base")  # computed from public images and released numbers: may show both, and time
# What each kind of learner says when it is done.
LAST = {
    "dp_sgd": "DP-SGD: step 2/2",
    "nearest_votes": "evolution: step 3/3",
    "mean_embedding": "moment matching: step 20/20",
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """A cache with four glyphs a class, drawn once; `make mutants` hands one over."""
    if "DPSYNTH_RENDERED" in os.environ:
        yield os.environ["DPSYNTH_RENDERED"]
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(glyphs, "PER_CLASS", 4)
        patch.setenv("DPSYNTH_ROOT", str(root := tmp_path_factory.mktemp("rendered")))
        data.public("glyphs", 3, 16)
        yield root / "cache"


def records(extra):
    """24 grey squares, and `extra` records that are as unlike them as can be."""
    images = torch.full((24 + extra, 3, 16, 16), 100, dtype=torch.uint8)
    images[24:, :, ::2] = 255
    images[24:, :, 1::2] = 0
    labels = torch.arange(24 + extra) % 2
    return Private(name="folder:nowhere", images=images, labels=labels, classes=("a", "b"), n_records=24, builtin=False)


def written(root):
    """All files below `root`: name, and content but for what is released or public."""
    found = {}
    for path in sorted(root.rglob("*")):
        if not path.is_file() or "cache" in path.relative_to(root).parts:
            continue
        kind, content = path.parent.name.partition("-")[0], path.read_bytes()
        if path.name == "tensors.safetensors" and kind in (*RELEASED, *PUBLIC):
            content = b"a release, or made of one"
        if path.name == "meta.json":
            meta = json.loads(content)
            assert not {"seconds", "peak_MiB"} & set(meta), path  # of any artifact: the process opened the records
            if kind in PUBLIC:
                meta.pop("fields")
            content = json.dumps(meta)
        found[str(path.relative_to(root))] = content
    return found


CASES = [
    *((method, {}) for method in METHODS if method != "dpsda"),
    *(("dpsda", {"threshold": 0.0, "api": api}) for api in ("diffusion", "glyphs")),  # each vote counts
    ("dp_mepf", {"moments": 2}),
    ("dp_ldm", {"latent": True, "prior": "noisy"}),
    ("dp_sapf", {"score": "votes", "convolutions": True}),
    ("dp_feta", {"centre": "mode"}),
]


@pytest.mark.parametrize(("method", "options"), CASES)
def test_nothing_unnoised_leaves(method, options, rendered, tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.setattr(glyphs, "PER_CLASS", 4)
    monkeypatch.setattr(secrets, "token_bytes", lambda n: bytes(range(n)))
    worlds = []
    for extra in (0, 1):
        root = tmp_path / str(extra)
        shutil.copytree(rendered, root / "cache")
        monkeypatch.setenv("DPSYNTH_ROOT", str(root))
        monkeypatch.setattr(data, "private", lambda *args, extra=extra, **declared: records(extra))
        capfd.readouterr()
        caplog.clear()
        caplog.set_level(logging.DEBUG)
        p = Params(
            method=method, private="folder:nowhere", n_records=24, labels=("a", "b"), size=16, noise="secret",
            delta=1e-3, epsilon=3.0, sample_rate=0.5, steps=2, pretrain_steps=4, encoder_steps=1, width=8,
            options={"kept": 2} if "kept" in METHODS[method].options.model_fields else options,
        )  # fmt: skip
        release = query.run(p)
        synthesiser = finetune.run(p)
        said = capfd.readouterr()
        text = re.sub(r"\[[^\]]*(it/s|s/it|\?)[^\]]*\]", "[time]", said.out + said.err + caplog.text)
        worlds.append((text, written(root), release, synthesiser))
    (text, files, release, synthesiser), (text_more, files_more, release_more, synthesiser_more) = worlds
    assert LAST[METHODS[method].learn.name] in text
    assert text == text_more
    assert files == files_more
    if isinstance(release, Release):  # under the same coins, the releases differ by the record's votes alone
        assert (release_more.histogram - release.histogram).abs().sum() == p["votes"]
    assert any((w != synthesiser_more.weights[name]).any() for name, w in synthesiser.weights.items())
