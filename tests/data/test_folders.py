"""Folders of images by their names: what is a class, what is passed over, what is refused, and in which words."""

import os
import socket
import unicodedata

import pytest
from PIL import Image

from dpsynth.data import catalog, folders

NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


@pytest.fixture(autouse=True)
def _own_root(root):
    """Nothing is decoded into the project's own folders."""


def save(path, colour=0, shape=(12, 12), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, shape, colour).save(path, format="PNG")
    return path


def declared(path, n_records=3, labels=("cat", "dog"), size=8):
    return catalog.private(f"folder:{path}", n_records=n_records, labels=labels, size=size)


def refusals(path):
    """The sentences in which the folder is refused as a private set and as a public one."""
    found = []
    for read in (lambda: declared(path), lambda: catalog.public(f"folder:{path}", 3, 8).images):
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            read()
        assert "\n" not in str(error.value) and "\x1b" not in str(error.value)
        found.append(str(error.value))
    return found


@pytest.mark.parametrize(
    "litter",
    [".DS_Store", "._x", "Thumbs.db", "THUMBS.DB", "desktop.ini", "ehthumbs.db", "Icon\r", ".git/", "__MACOSX/"],
)
@pytest.mark.parametrize("where", ["", "cat", "dog"])
def test_what_systems_leave_behind_is_passed_over(pets, litter, where):
    left = pets / where / litter
    if litter.endswith("/"):
        left.mkdir()
        left = left / "._a.png"
    left.write_bytes(b"\xd0\xcf\x11\xe0")
    assert declared(pets).n_records == 3 and catalog.public(f"folder:{pets}", 3, 8).classes == ("cat", "dog")
    assert catalog.public(f"folder:{pets}", 3, 8).n_classes == 2


# Names in two spellings


@pytest.mark.parametrize("stored, written", [(NFD, NFC), (NFC, NFD)])
def test_names_of_a_mac_are_those_of_others(pets, stored, written):
    (pets / "cat").rename(pets / stored)
    private = declared(pets, labels=["dog", written])
    assert private.classes == ("dog", written) and private._labels.tolist() == [0, 1, 1]
    assert catalog.public(f"folder:{pets}", 3, 8).classes == (NFC, "dog")


def test_two_folders_or_labels_that_look_alike_are_refused(pets):
    (pets / "cat").rename(pets / NFD)
    (pets / "dog").rename(pets / NFC)
    assert all(f"are called {NFC}, in two spellings" in said for said in refusals(pets))
    with pytest.raises(ValueError, match="to be distinct"):
        declared(pets, labels=[NFC, NFD])


def test_a_class_name_of_another_encoding_is_refused(pets):
    os.rename(pets / "cat", os.fsencode(pets) + b"/re\xff")
    assert all(r"re\udcff is not Unicode; rename it, or set PYTHONUTF8=1" in said for said in refusals(pets))


# What is refused


@pytest.mark.parametrize("where", ["nowhere", "cat/0.png", "cat/0.png/x"])
def test_a_folder_that_is_none(pets, where):
    assert all(f"{pets}/{where} does not exist" in said for said in refusals(pets / where))


@pytest.mark.parametrize("made", ["", "cat"])
def test_an_empty_folder(tmp_path, made):
    (tmp_path / made).mkdir(exist_ok=True)
    assert all(f"{tmp_path} is empty" in said for said in refusals(tmp_path))


@pytest.mark.parametrize("inside", [None, ".hidden.png", "Thumbs.db"])
def test_an_empty_public_class_is_named_and_an_empty_private_one_is_not(pets, inside):
    (pets / "emu").mkdir()
    if inside:
        save(pets / "emu" / inside)
    for part in ("n_classes", "classes", "labels", "images"):
        with pytest.raises(ValueError, match=f"without an image: {pets}/emu;"):
            getattr(catalog.public(f"folder:{pets}", 3, 8), part)
    assert declared(pets, labels=["cat", "dog", "emu"])._labels.tolist() == [0, 0, 1]


def test_a_file_beside_class_folders(pets):
    save(pets / "stray.png", 0)
    assert all("stray.png lies beside class folders" in said for said in refusals(pets))


def test_a_folder_within_a_class(pets):
    save(pets / "cat" / "more" / "a.png", 0)
    assert all("cat/more is a folder where images are expected" in said for said in refusals(pets))


def test_a_class_that_links_to_its_parent(pets):
    (pets / "emu").symlink_to(pets)
    assert all("/emu/cat is a folder where images are expected" in said for said in refusals(pets))


def _socket(path):
    before = os.getcwd()
    os.chdir(path.parent)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)
    os.chdir(before)


@pytest.mark.parametrize("where", ["", "cat"])
@pytest.mark.parametrize("make", [os.mkfifo, _socket, lambda path: path.symlink_to("/dev/zero"),
                                  lambda path: path.symlink_to(path.parent / "nothing")],
                         ids=["pipe", "socket", "device", "dangling"])  # fmt: skip
def test_what_is_neither_file_nor_folder_is_never_opened(pets, make, where):
    make(pets / where / "0.jpg")
    assert all(f"{pets / where}/0.jpg is neither a file nor a folder" in said for said in refusals(pets))


@pytest.mark.parametrize("where", ["loop", "pets/cat/0.png", "pets/dog"])
def test_links_that_go_round_in_circles(tmp_path, pets, where):
    path = tmp_path / where
    if path.is_dir():
        path.rename(tmp_path / "away")
    path.unlink(missing_ok=True)
    path.symlink_to(tmp_path / "back")
    (tmp_path / "back").symlink_to(path)
    loop = path if where == "loop" else pets
    assert all(f"{path} cannot be read (Too many levels of symbolic links)" in said for said in refusals(loop))


def test_paths_that_no_system_takes():
    assert all("cannot be read (File name too long)" in said for said in refusals("x" * 5000))
    assert all(r"folder:a\x00b holds a zero byte" in said for said in refusals("a\0b"))
    assert all("no such user" in said for said in refusals("~nosuchuser/x"))
    for name in ("folder:~nosuchuser/x", "folder:a\0b"):
        with pytest.raises(ValueError):
            catalog.constants(name, n_records=1, labels=[], size=8)


@pytest.mark.parametrize("closed", ["pets/cat", "pets", "."])
def test_a_folder_that_may_not_be_read_is_named(tmp_path, pets, closed, as_nobody):
    for folder in (pets, pets / "cat"):
        folder.chmod(0o755)
    (tmp_path / closed).chmod(0)
    try:
        with as_nobody(), pytest.raises(ValueError) as error:
            folders.listing(pets)
    finally:
        (tmp_path / closed).chmod(0o755)
    named = pets if closed == "." else tmp_path / closed
    assert f"{named} cannot be read (Permission denied)" in str(error.value)


# Shared files


LINKS = {
    "a folder of links": lambda private, public: [
        (public / name.name).symlink_to(name) for name in private.iterdir()
    ],
    "one linked file": lambda private, public: (save(public / "emu" / "0.png"), (public / "emu" / "1.png").symlink_to(
        private / "cat" / "1.png")),
    "one hard link": lambda private, public: (save(public / "emu" / "0.png"), (public / "emu" / "1.png").hardlink_to(
        private / "cat" / "1.png")),
    "a class linked whole": lambda private, public: (save(public / "emu" / "0.png"), (public / "ox").symlink_to(
        private / "dog")),
}  # fmt: skip


@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)
def test_a_public_set_that_holds_private_files_is_refused(tmp_path, pets, link):
    public = tmp_path / "public"
    public.mkdir()
    link(pets, public)
    with pytest.raises(ValueError, match=f"{public}/.* of the public set is {pets}/.* of the private one"):
        catalog.refuse_shared_files(f"folder:{pets}", f"folder:{public}")


def test_the_same_folder_by_another_name_is_refused(tmp_path, pets):
    (tmp_path / "other").symlink_to(pets)
    other = tmp_path / "other"
    for ours, theirs, here, there in (
        (pets, other, pets, other),
        (other / "cat", pets, other / "cat", pets / "cat"),
        (pets, other / "dog", pets / "dog", other / "dog"),
    ):
        with pytest.raises(ValueError, match=f"^{there} of the public set is {here} of the private one"):
            catalog.refuse_shared_files(f"folder:{ours}", f"folder:{theirs}")


def test_sets_that_share_nothing_are_not_refused(tmp_path, pets):
    save(tmp_path / "public" / "emu" / "0.png", (30, 60, 90))
    catalog.refuse_shared_files(f"folder:{pets}", f"folder:{tmp_path / 'public'}")
    catalog.refuse_shared_files(f"folder:{pets}", "glyphs")
    catalog.refuse_shared_files("mnist5k", f"folder:{pets}")


def test_a_sentence_names_ten_at_most():
    assert folders.several(list("abcdefghij")) == "a, b, c, d, e, f, g, h, i, j"
    assert folders.several(list("abcdefghijkl")).endswith("i, j and 2 more")
