"""The files that a set is read from, for a machine that has none of them."""

from pathlib import Path

from dpsynth import project
from dpsynth.data import prepared, private_sets
from dpsynth.data.originals import ORIGINALS
from dpsynth.data.private_sets import PRIVATE
from dpsynth.project import FOLDER

IN_MNISTS_FORMAT = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}


def files(name: str) -> dict[str, Path]:
    """The files of the set `name`, by where they belong: "cache/" is below the root, "data/" is $DPSYNTH_DATA. None of
    glyphs, which every machine draws.

    Raises:
        FileNotFoundError: they are not there, or not prepared. ValueError: a set of the user's own, or not whole.
    """
    if name.startswith(FOLDER):
        raise ValueError(
            f"{name} is a folder of your own, which is not packed: pack --without-data, and copy it to the same place"
        )
    if name.startswith("mnist5k"):
        private_sets.write_mnist5k()
        return {"cache/mnist5k.npz": private_sets.mnist5k_file()}
    if dataset := IN_MNISTS_FORMAT.get(name):
        return {f"data/{dataset}/raw/{file.name}": file for file in private_sets.mnist_files(dataset)}
    stored = PRIVATE[name].prepared if name in PRIVATE else name
    if stored not in ORIGINALS:
        return {}
    prepared.opened(stored)
    return {f"data/prepared/{stored}/{file}": prepared.folder(stored) / file for file in prepared.FILES}


def place(name: str) -> Path:
    """Where a file of that name belongs on this machine."""
    return project.data() / name.removeprefix("data/") if name.startswith("data/") else project.root() / name
