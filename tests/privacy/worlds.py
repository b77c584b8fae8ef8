"""Worlds that differ in their records: the cases that the tests of whole stages run, and the small sets they run on."""

import functools
import re
import secrets
import shutil

import torch

from dpsynth.budget import certificate
from dpsynth.data import catalog, glyphs
from dpsynth.methods import METHODS
from dpsynth.params import Params
from dpsynth.privacy import Private, accounting

N, SIZE, CLASSES = 24, 16, ("a", "b")
TINY = dict(
    private="folder:nowhere", n_records=N, labels=CLASSES, size=SIZE, noise="secret", delta=1e-3, epsilon=3.0,
    steps=2, pretrain_steps=4, encoder_steps=1, width=8, n_synthetic=20,
)  # fmt: skip
# Every method as it comes, and again with each option that changes what is asked of the records, or what is kept.
CASES = [
    *((method, {}) for method in METHODS if method != "dpsda"),
    *(("dpsda", {"threshold": 0.0, "api": api}) for api in ("diffusion", "glyphs")),  # each vote counts
    ("dpsda", {"threshold": 0.0, "lookahead": 0, "api": "glyphs", "prior": "noisy"}),
    ("dp_mepf", {"moments": 2, "prior": "noisy"}),
    ("dp_ldm", {"latent": True, "prior": "noisy"}),
    ("dp_sapf", {"score": "votes", "convolutions": True, "prior": "noisy"}),
    ("dp_sapf", {"low_rank": False, "unit": "layer", "convolutions": True, "noise_multiplicity": 2}),
    ("dp_sapf", {"choice": "random", "prediction": "ddpm"}),
    ("dp_feta", {"centre": "mode", "trainable": "light"}),
    ("dp_feta", {"warmup": "public", "conditional": False}),
    ("dpdm", {"noise_multiplicity": 3, "prediction": "ddpm"}),
    ("rpgen", {"mode": "global", "noise_multiplicity": 2}),
    ("privimage_d", {"match": "proportional", "trainable": "light"}),
    ("privimage_g", {"mode": "global", "match": "proportional", "prior": "noisy"}),
    ("dpgan_p", {"turn": 2, "generator_steps": 2}),
    ("dpdm", {"augment": "flips", "unet": {"levels": [1, 2], "blocks": 1, "attention": [8]}, "noise_multiplicity": 2}),
]
NAMES = ["-".join([method, *(f"{name}={value}" for name, value in options.items())]) for method, options in CASES]


# Functions of public constants, which take most of the time of a run this small: computed once for all worlds.
EPSILON, CROSS_CHECKS = map(functools.cache, (accounting.epsilon, certificate.cross_checks))


def parameters(method, options, **changes):
    """The smallest run of a case; what is no option of the method is a parameter of the run."""
    own = METHODS[method].options.model_fields
    chosen = {name: value for name, value in options.items() if name in own}
    kept = {"kept": 2} if "kept" in own else {}
    common = {name: value for name, value in options.items() if name not in own}
    return Params(method=method, options=kept | chosen, **{**TINY, **common, **changes})


def of(images, labels):
    """A user's own set of these records, by the name and the constants that `parameters` declares."""
    return Private(name="folder:nowhere", images=images, labels=labels, classes=CLASSES, n_records=N, builtin=False)


def more(extra):
    """24 grey squares, and `extra` records that are as unlike them as can be."""
    images = torch.full((N + extra, 3, SIZE, SIZE), 100, dtype=torch.uint8)
    images[N:, :, ::2], images[N:, :, 1::2] = 255, 0
    return of(images, torch.arange(N + extra) % len(CLASSES))


def replaced(extra):
    """24 grey squares of two labels; or, if `extra`, as many that share no pixel with them, nearly all of one label."""
    if not extra:
        return more(0)
    images = torch.randint(101, 256, (N, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    labels = torch.zeros(N, dtype=torch.int64)
    labels[0] = 1  # a label is private as well
    return of(images, labels)


def enter(root, private, rendered, monkeypatch):
    """Work in an empty project at `root`, where `private` is the set and the coins are the same in every world."""
    shutil.copytree(rendered, root / "cache")
    monkeypatch.setenv("DPSYNTH_ROOT", str(root))
    monkeypatch.setattr(glyphs, "PER_CLASS", 4)
    monkeypatch.setattr(secrets, "token_bytes", lambda n: bytes(range(n)))
    monkeypatch.setattr(catalog, "private", lambda *args, **declared: private)
    monkeypatch.setattr(accounting, "epsilon", lambda of, *args, **how: EPSILON(tuple(of), *args, **how))
    monkeypatch.setattr(certificate, "cross_checks", lambda of, delta: CROSS_CHECKS(tuple(of), delta))


def without_times(text):
    """What was printed, but for the rates and times of progress bars of public work."""
    return re.sub(r"\[[^\]]*(it/s|s/it|\?)[^\]]*\]", "[time]", text)
