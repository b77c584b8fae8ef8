"""The image sets by name: a row of `PUBLIC` or `PRIVATE`, `folder:PATH`, or of a rehearsal (`stand_ins`).

Public sets come in any shape, unopened. Private sets come as `privacy.Private`; what a plan may know of them before,
their `constants`, never depends on their records.
"""

from dpsynth.data import folder_sets, folders, imagefiles, prepared, stand_ins
from dpsynth.data.originals import ORIGINALS
from dpsynth.data.private_sets import PRIVATE, Constants, PreparedBenchmark
from dpsynth.data.public_sets import PUBLIC, PublicSet
from dpsynth.privacy import Private
from dpsynth.project import FOLDER

BACKGROUND = "white"


def public(name: str, channels: int, size: int, *, background: str = BACKGROUND) -> PublicSet:
    """The public set `name` with images (channels, size, size), resized where its own shape is another. Opens nothing.

    Args:
        name: one of PUBLIC, or "folder:PATH" for one folder a class.
        channels: 3 (grey is repeated) or 1 (colours are averaged).
        background: colour under the transparent pixels of a folder's images.
    Raises:
        ValueError: no such set, shape or colour. When it is opened, as its kind says.
    """
    if name.startswith(FOLDER):
        return folder_sets.PublicFolder(name, channels, size, imagefiles.colour(background))
    if name.startswith(stand_ins.PUBLIC):
        return stand_ins.Rest(name, public(stand_ins.source_of(name), channels, size, background=background))
    if name not in PUBLIC:
        raise ValueError(f"no public set {name!r} is available; there are {', '.join(PUBLIC)} and {FOLDER}PATH")
    return PublicSet(name, channels, size)


def private(
    name: str, split: str = "train", *, n_records=None, labels=None, size=None, background: str = BACKGROUND
) -> Private:
    """The private set `name`, closed. Arguments as of `constants`; background: as of `public`.

    A folder is decoded once, into a file beside the ledger that `forget_decoded` removes.

    Raises:
        FileNotFoundError: its files are missing, or not prepared; says where they were looked for, and what to do.
        ValueError: its files are broken or contradict the constants; and as `constants`, and `prepared.opened`.
    """
    known = constants(name, split, n_records=n_records, labels=labels, size=size)
    if name.startswith(FOLDER):
        return folder_sets.private(name, known, imagefiles.colour(background))
    if name.startswith(stand_ins.PRIVATE):
        source = public(stand_ins.source_of(name), known.channels, known.size, background=background)
        return stand_ins.private(name, split, known, source)
    row = PRIVATE[name]
    images, targets = row.load(split)
    expected = (row.n_records[split], known.channels, known.size, known.size)
    if images.shape != expected or targets.shape != expected[:1]:
        raise ValueError(
            f"the {split} files of {name} hold images of shape {tuple(images.shape)} and {len(targets)} "
            f"labels, where {expected} was published; delete them and fetch them again"
        )
    images, targets = images[: known.n_records], targets[: known.n_records]
    records = {
        "name": name if split == "train" else f"{name}-{split}", "images": images, "labels": targets,
        "classes": known.classes, "n_records": known.n_records, "builtin": True,
    }  # fmt: skip
    if row.prepared:
        return PreparedBenchmark(content=prepared.content(row.prepared), **records)
    return Private(**records)


def constants(name: str, split: str = "train", *, n_records=None, labels=None, size=None) -> Constants:
    """The public constants of the private set `name`. Opens no record and no folder.

    >>> constants("mnist5k").n_records, constants("mnist5k").size
    (4000, 28)

    Args:
        name: one of PRIVATE, or "folder:PATH", which needs the other three declared.
        split: "train" or "test"; a folder is "train" as a whole.
        n_records: how many images; of a benchmark's training records, the first so many.
        labels: class folders in the order of their labels; empty for images without, directly in the folder.
        size: pixels a side; images are cropped to their middle square and resized.
    Raises:
        ValueError: unknown set or split; a declaration missing, malformed or contradicting what is published.
    """
    declared = {"n_records": n_records, "labels": labels, "size": size}
    if name.startswith(FOLDER):
        if split != "train":
            raise ValueError(f"{name} has no split {split!r}: a folder is 'train' as a whole")
        return folder_sets.declared(name, **declared)
    if name.startswith(stand_ins.PRIVATE):
        return stand_ins.constants(name, **declared)
    if name not in PRIVATE:
        raise ValueError(f"no private set {name!r}; there are {', '.join(PRIVATE)} and {FOLDER}PATH")
    row = PRIVATE[name]
    if split not in row.n_records:
        raise ValueError(f"{name} has no split {split!r}; it has {', '.join(row.n_records)}")
    published = {"labels": row.classes, "size": row.size}
    for key, given in published.items():
        if (value := declared[key]) is not None and (tuple(value) if key == "labels" else value) != given:
            raise ValueError(f"{key}={value!r} contradicts {name}, which has {given!r}: omit it")
    n = row.n_records[split]
    if n_records is not None and split == "train":
        if n_records > n:
            raise ValueError(f"n_records={n_records} contradicts {name}, which has {n}: lower it, or omit it")
        n = n_records
    return Constants(n, row.channels, row.size, row.classes, builtin=True)


def prepared_as(name: str) -> str:
    """The set that `dpsynth prepare` makes for the set `name`: `celeba32_gender` is read from `celeba32`.

    Raises:
        ValueError: it needs no preparing, or there is none.
    """
    of = PRIVATE[name].prepared if name in PRIVATE else name
    if of in ORIGINALS:
        return of
    if name in PRIVATE or name in PUBLIC or name.startswith(FOLDER):
        raise ValueError(f"{name} needs no preparing; {', '.join(ORIGINALS)} do")
    raise ValueError(f"no set {name!r} to prepare; there are {', '.join(ORIGINALS)}")


def forget_decoded(name: str) -> None:
    """Remove what was decoded of the private set `name`, if it is a folder."""
    if name.startswith(FOLDER):
        folder_sets.forget_decoded(name)


def refuse_links(private: str, public: str) -> None:
    """Refuse a public folder with links into the private one, without a look at that: what a rehearsal can do.

    Raises:
        ValueError: the link; and as `folders.listing`, of the public folder.
    """
    if not (private.startswith(FOLDER) and public.startswith(FOLDER)):
        return
    if link := folders.link_into(*map(folder_sets.path_of, (public, private))):
        raise ValueError(f"{folders.told(link)} of the public set is a link into {private}; take it out")


def refuse_shared_files(private: str, public: str) -> None:
    """Refuse a public folder that holds records of the private one, by whatever names, links or mounts.

    Raises:
        ValueError: both paths of a file or folder that they share; and as `folders.listing`.
    """
    if not (private.startswith(FOLDER) and public.startswith(FOLDER)):
        return
    if both := folders.shared(*map(folder_sets.path_of, (private, public))):
        ours, theirs = map(folders.told, both)
        raise ValueError(f"{theirs} of the public set is {ours} of the private one; take it out of one of them")
