"""Folders decoded once: where the arrays lie, when they no longer fit, and what they and the bar tell."""

import errno
import os
import re
import shutil
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dpsynth.data import catalog, decoded, imagefiles
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.privacy import Ledger
from dpsynth.privacy.disk import EARLIEST


def fill(folder, n=6, side=12):
    draws = np.random.default_rng(n)
    for number in range(n):
        file = folder / ("cat" if number % 2 else "dog") / f"{number}.bmp"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draws.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(file)
    return folder


@pytest.fixture
def pets(root):
    return fill(root / "pets")


@pytest.fixture
def reads(monkeypatch):
    """The files that are decoded, as they are."""
    done, read = [], imagefiles.read
    monkeypatch.setattr(imagefiles, "read", lambda file, *a: done.append(file) or read(file, *a))
    return done


def private(path, size=8, n_records=6, **more):
    return catalog.private(f"folder:{path}", n_records=n_records, labels=["cat", "dog"], size=size, **more)


def public(path, size=8, **more):
    return catalog.public(f"folder:{path}", 3, size, **more).images


def arrays(root, place="ledger/decoded"):
    return sorted((root / place).glob("*.npy"))


def test_a_folder_is_decoded_once(pets, reads):
    first = private(pets)._images.clone()
    assert len(reads) == 6
    for _ in range(3):
        assert private(pets)._images.equal(first)
    assert public(pets).equal(first)
    assert len(reads) == 12  # the public copy lies elsewhere
    assert public(pets).equal(first) and len(reads) == 12


def test_every_spelling_of_a_folder_shares_one_array(pets, reads, monkeypatch):
    (pets.parent / "link").symlink_to(pets)
    monkeypatch.chdir(pets.parent)
    for spelling in (pets, "pets", "./pets/../pets", "link"):
        private(spelling)
    assert len(reads) == 6 and len(arrays(pets.parent)) == 1
    name = Ledger(Path(), f"folder:{pets}", "secret", 0).path.stem
    assert arrays(pets.parent)[0].name.startswith(f"{name}-")


def test_a_folder_is_never_whole_in_memory(root):
    fill(root / "many", n=32, side=64)
    tracemalloc.start()
    images = private(root / "many", 512, n_records=32)._images
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert images.nbytes == 24 * 2**20 and peak < 6 * 2**20


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="what is mapped is told by Linux alone")
def test_the_array_is_mapped(pets):
    found = [private(pets)._images, public(pets)]
    maps = Path("/proc/self/maps").read_text()
    assert len(found) == 2 and all(
        str(*arrays(pets.parent, place)) in maps for place in ("ledger/decoded", "cache/folders")
    )


def test_what_is_done_to_the_images_stays_in_the_process(pets):
    images = private(pets)._images
    before = images.clone()
    images.zero_()
    assert private(pets)._images.equal(before)


# When it no longer fits


def _replace(file):
    """Another picture of as many bytes, with the old one's time."""
    found, content = file.stat(), bytearray(file.read_bytes())
    content[-50:] = bytes(50)
    file.write_bytes(content)
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))


CHANGES = {
    "replaced in place": lambda pets: _replace(pets / "cat" / "1.bmp"),
    "replaced by another file": lambda pets: os.replace(shutil.copy(pets / "dog/0.bmp", "x"), pets / "cat/1.bmp"),
    "renamed": lambda pets: (pets / "cat" / "1.bmp").rename(pets / "cat" / "9.bmp"),
    "moved to another class": lambda pets: [
        (pets / "cat/1.bmp").rename(pets / "dog/1.bmp"), (pets / "dog/2.bmp").rename(pets / "cat/2.bmp")],
    "classes swapped": lambda pets: [
        (pets / "cat").rename(pets / "x"), (pets / "dog").rename(pets / "cat"), (pets / "x").rename(pets / "dog")],
    "touched": lambda pets: os.utime(pets / "cat" / "1.bmp", (1, 1)),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_folder_that_changed_is_decoded_anew(pets, reads, change, monkeypatch):
    monkeypatch.chdir(pets.parent)
    private(pets), public(pets)
    time.sleep(0.02)  # a file system's clock ticks
    change(pets)
    reads.clear()
    files = [file for name in ("cat", "dog") for file in sorted((pets / name).iterdir())]
    expected = np.stack([imagefiles.read(file, 8, (255, 255, 255)).transpose(2, 0, 1) for file in files])
    reads.clear()
    for again in (private(pets), private(pets)):
        assert (again._images.numpy() == expected).all()
    assert len(reads) == 6 and len(arrays(pets.parent)) == 1  # the old one is gone
    assert (public(pets).numpy() == expected).all() and len(reads) == 12


def test_size_background_pillow_and_code_belong_to_the_name(pets, reads, monkeypatch):
    private(pets), private(pets, 12), private(pets, background="black")
    assert len(reads) == 18 and len(arrays(pets.parent)) == 3
    private(pets), private(pets, 12), private(pets, background="#000")
    assert len(reads) == 18
    monkeypatch.setattr("PIL.__version__", "0")
    private(pets)
    monkeypatch.setattr(decoded, "page_digest", lambda module: "other")
    private(pets)
    assert len(reads) == 30 and len(arrays(pets.parent)) == 3


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:60], lambda b: b"no array" + b])
def test_a_damaged_array_is_made_anew(pets, reads, damage):
    before = private(pets)._images.clone()
    (array,) = arrays(pets.parent)
    array.write_bytes(damage(array.read_bytes()))
    assert private(pets)._images.equal(before) and len(reads) == 12


def test_an_array_of_another_shape_is_made_anew(pets, reads):
    before = private(pets)._images.clone()
    np.save(arrays(pets.parent)[0], np.zeros((6, 3, 4, 4), np.uint8))
    assert private(pets)._images.equal(before) and len(reads) == 12


def test_a_broken_image_leaves_nothing_behind(pets):
    (pets / "cat" / "1.bmp").write_bytes((pets / "cat" / "1.bmp").read_bytes()[:60])
    for read in (private, public):
        with pytest.raises(ValueError, match="cannot be read; mend"):
            read(pets)
    left = [*(pets.parent / "ledger/decoded").iterdir(), *(pets.parent / "cache/folders").iterdir()]
    assert [file.suffix for file in left] == [".lock", ".lock"]


def test_a_kill_leaves_nothing_that_is_taken_for_whole(pets, monkeypatch, reads):
    with monkeypatch.context() as patch:
        patch.setattr(decoded.Path, "unlink", lambda *a, **k: None)  # nothing is cleared away
        patch.setattr(os, "replace", lambda *a: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            private(pets)
    assert not arrays(pets.parent) and list((pets.parent / "ledger/decoded").glob("*.tmp"))
    private(pets)
    assert (
        len(reads) == 12 and len(arrays(pets.parent)) == 1 and not list((pets.parent / "ledger/decoded").glob("*.tmp"))
    )


@pytest.mark.parametrize("step", ["fsync", "replace", "write"])
def test_a_full_disk_is_told_with_the_file(pets, monkeypatch, step):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full) if step != "write" else monkeypatch.setattr(imagefiles, "read_all", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*ledger/decoded/folder-.*npy'"):
        private(pets)
    assert not arrays(pets.parent) and not list((pets.parent / "ledger/decoded").glob("*.tmp"))


def test_of_those_who_open_a_folder_at_once_one_decodes_it(pets, monkeypatch, reads):
    counted = imagefiles.read
    monkeypatch.setattr(imagefiles, "read", lambda *a: (time.sleep(0.02), counted(*a))[1])
    with ThreadPoolExecutor(3) as pool:  # a lock holds between open files, of one process or of several
        found = list(pool.map(lambda _: private(pets)._images, range(3)))
    assert len(reads) == 6 and found[0].equal(found[1]) and found[0].equal(found[2])


# What it tells


@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o777])
def test_only_the_owner_may_read_what_was_decoded(pets, umask):
    before = os.umask(umask)
    try:
        (pets.parent / "ledger").mkdir(mode=0o755)
        (pets.parent / "ledger").chmod(0o755)
        private(pets)
    finally:
        os.umask(before)
    place = pets.parent / "ledger" / "decoded"
    assert place.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in place.iterdir()} == {0o600}


def test_an_older_folder_of_wider_rights_is_closed(pets):
    place = pets.parent / "ledger" / "decoded"
    place.mkdir(parents=True)
    place.chmod(0o755)
    private(pets)
    assert place.stat().st_mode & 0o777 == 0o700


def test_the_times_of_the_array_tell_nothing(pets):
    private(pets)
    place = pets.parent / "ledger" / "decoded"
    assert len(list(place.iterdir())) == 2
    assert {file.stat().st_mtime for file in (place, *place.iterdir())} == {EARLIEST}


def test_the_bar_tells_files_alone_and_at_fixed_places(root, capsys, monkeypatch):
    fill(root / "many", n=30)
    said = []
    for delay in (0, 0.01):
        read = imagefiles.read
        monkeypatch.setattr(imagefiles, "read", lambda *a, read=read, delay=delay: (time.sleep(delay), read(*a))[1])
        private(root / "many", 8 + int(delay * 400), n_records=30)
        said.append(capsys.readouterr().err)
    assert said[0] == said[1]
    parts = [part.strip() for part in re.split(r"[\r\n]", said[0]) if part.strip()]
    assert set(parts) == {f"reading folder:{root}/many: file {n}/30" for n in range(0, 31, 3)}


def test_what_was_decoded_is_forgotten_when_asked(pets, reads):
    other = fill(pets.parent / "other")
    private(pets), private(pets, 12), private(other), public(pets)
    open_one = private(pets)._images
    catalog.forget_decoded(f"folder:{pets.parent}/./pets")
    catalog.forget_decoded(f"folder:{pets.parent}/never")
    catalog.forget_decoded("mnist5k")
    assert len(arrays(pets.parent)) == 1 and len(arrays(pets.parent, "cache/folders")) == 1
    assert open_one.float().mean() > 0  # what is open stays so
    reads.clear()
    private(other), public(pets)
    assert not reads


# The background's way through the parameters


FOLDER = {"private": "folder:pets", "n_records": 6, "labels": ["cat", "dog"], "size": 8, "noise": "secret"}


def transparent(folder):
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGBA", (12, 12), (255, 128, 0, 0)).save(folder / name / f"{number}.png")
    return folder


def params(root, **more):
    return Params(**{**FOLDER, "private": f"folder:{root}/pets", "delta": 0.01, **more})


def test_the_background_reaches_private_and_public_images(root):
    transparent(root / "pets"), transparent(root / "public")
    for name, values in (("white", (255, 255, 255)), ("#102030", (16, 32, 48))):
        expected = torch.tensor(values, dtype=torch.uint8)[:, None, None].expand(6, 3, 8, 8)
        p = params(root, background=name)
        assert Run(p).private._images.equal(expected)
        assert catalog.public(f"folder:{root}/public", *p.shape, background=p.background).images.equal(expected)


def test_another_background_is_another_set_of_records(root):
    transparent(root / "pets")
    white, again, black = (Run(params(root, background=b)).private.identity for b in ("white", "#fff", "black"))
    assert white == again != black
    assert Run(params(root)).private.identity == white


def test_the_background_counts_in_the_digest_only_where_it_is_another():
    white, black = Params(), Params(background="black")
    assert white.digest != black.digest and white.run_name != black.run_name
    assert Params(background="white").digest == white.digest
    with pytest.raises(ValueError, match=r"background=.* to be a colour without alpha"):
        Params(background="whitish")
