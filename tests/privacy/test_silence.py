"""Each method on a set and on that set with one extreme record more, under the same coins: what leaves before the
release (printed, logged, written) is the same to the byte, times apart."""

import json
import logging

import pytest
import worlds

from dpsynth.artifacts import SemanticHistogram
from dpsynth.methods import METHODS
from dpsynth.pipeline import Run

RELEASED = ("prior", "release", "probe", "synthesiser")  # under noise, in their tensors
PUBLIC = ("encoder", "corpus", "base")  # computed from public images and released numbers: may show both, and time
# What each kind of learner says when it is done.
LAST = {
    "dp_sgd": "DP-SGD: step 2/2",
    "nearest_votes": "evolution: step 3/3",
    "mean_embedding": "moment matching: step 20/20",
}


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


@pytest.mark.parametrize(("method", "options"), worlds.CASES, ids=worlds.NAMES)
def test_nothing_unnoised_leaves(method, options, rendered, tmp_path, monkeypatch, capfd, caplog):
    p, both = worlds.parameters(method, options, sample_rate=0.5), []
    for extra in (0, 1):
        root = tmp_path / str(extra)
        worlds.enter(root, worlds.more(extra), rendered, monkeypatch)
        capfd.readouterr()
        caplog.clear()
        caplog.set_level(logging.DEBUG)
        run = Run(p)
        release, synthesiser = run.release, run.synthesiser
        said = capfd.readouterr()
        text = worlds.without_times(said.out + said.err + caplog.text)
        both.append((text, written(root), release, synthesiser))
    (text, files, release, synthesiser), (text_more, files_more, release_more, synthesiser_more) = both
    assert LAST[METHODS[method].learn.name] in text
    assert text == text_more
    assert files == files_more
    if isinstance(release, SemanticHistogram):  # under the same coins, the releases differ by the record's votes alone
        assert (release_more.histogram - release.histogram).abs().sum() == run.options.votes
    assert any((w != synthesiser_more.weights[name]).any() for name, w in synthesiser.weights.items())
