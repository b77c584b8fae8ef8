"""Keys of coins. Secret: drawn from the operating system, one a release, sealed to its records, and destroyed with the
last use. Seeded: published."""

import hashlib
import os
import secrets
from pathlib import Path
from typing import Any

from dpsynth.privacy.coins import KEY_BYTES, Coins
from dpsynth.privacy.disk import replacing, sync


def seeded(seed: int, private: str, mechanism: str) -> Coins:
    """Published coins, of the seed, the private set and the mechanism's name alone; the step is in each address.

    So one seed is one noise, whatever code was edited, and methods compared at one seed share it, as pairs should. Two
    answers under one noise tell their exact difference. Here that takes nothing away, as anybody can draw this noise
    and take it off: it is a reproduction on a public benchmark, and no release. No two releases share a secret key.

    Args:
        private: canonical name of the set.
    """
    return Coins(hashlib.sha256(f"dpsynth seeded coins {(seed, private, mechanism)!r}".encode()).digest())


class Keys:
    """A folder of keys, its owner's alone: <release>.key holds the key and what it was sealed to, KEY_BYTES each: the
    records that are asked, and the code and machine that ask."""

    def __init__(self, folder: Path):
        self.folder = folder

    def read(self, release: str) -> tuple[Coins | None, bytes, bytes]:
        """The coins of a release that was begun and not closed, and both seals; None without a key.

        Raises:
            PermissionError: others can read the key; ValueError: the file is damaged.
        """
        path = self._path(release)
        if not path.exists():
            return None, b"", b""
        if path.stat().st_mode & 0o077:
            raise PermissionError(f"{path} can be read by others: the coins of this release are not secret")
        content = path.read_bytes()
        if len(content) != 3 * KEY_BYTES:
            raise ValueError(
                f"{path} is damaged: the release that it was drawn for cannot go on; restore the file, or delete it to "
                "give that release up, which counts all the same"
            )
        return Coins(content[:KEY_BYTES]), content[KEY_BYTES : 2 * KEY_BYTES], content[2 * KEY_BYTES :]

    def draw(self, release: str, private: Any, made_by: str) -> Coins:
        """New coins, on disk before they are used, sealed to the records of `private`, a `Private` (or to none), and to
        the code and machine that ask."""
        coins = Coins(key := secrets.token_bytes(KEY_BYTES))
        seal = private.seal(coins) if private is not None else bytes(KEY_BYTES)
        self.folder.mkdir(exist_ok=True, mode=0o700)
        with replacing(self._path(release), mode=0o600, timeless=True) as file:
            file.write(key + seal + coins.seal(made_by.encode()))
        return coins

    def destroy(self, release: str) -> None:
        """Overwrite and remove the key; does nothing where there is none."""
        key, dead = self._path(release), self._path(release).with_suffix(".dead")
        if key.exists():
            os.replace(key, dead)  # first, so that a crash never leaves an overwritten key in place
        if dead.exists():
            with open(dead, "r+b") as file:  # in place: a truncated file would get other blocks of the disk
                file.write(bytes(dead.stat().st_size))
                file.flush()
                os.fsync(file.fileno())
            dead.unlink()
            sync(self.folder)

    def _path(self, release: str) -> Path:
        return self.folder / f"{release}.key"
