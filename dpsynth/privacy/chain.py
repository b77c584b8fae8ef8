"""The file under a ledger: append-only JSON lines, and a head that says how far they go.

What is noticed: a line edited, added or taken out by hand, as each carries a digest of all up to it; an end cut off, a
file deleted, restored alone or written anew, as the head (how many entries, and the last digest) is a file of its own;
two names of one folder. What is not: head and ledger brought to an older state together. The digests hold no secret:
they guard against accidents. A folder that was moved has a ledger of its own.
"""

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from dpsynth.privacy.disk import naming, replacing, sync
from dpsynth.privacy.mechanisms import from_statement

ENTRIES = ({"open", "coins", "noise", "mechanism"}, {"close", "coins"})  # what opening and closing entries hold


class Chain:
    """The entries of one private set, on disk.

    Args:
        path: of the file; heads: folder of the heads; private: canonical name of the set.
    """

    def __init__(self, path: Path, heads: Path, private: str):
        self.path, self.head, self._private = path, heads / f"{path.stem}.json", private

    def entries(self) -> list[dict[str, Any]]:
        """All entries, oldest first, verified; errors as of `Ledger.entries`."""
        return [entry for entry, _ in self._verified()]

    def append(self, entry: dict[str, Any]) -> None:
        """Write `entry` after the last, on disk when this returns; what a crash tore is cut off."""
        chain = self._verified()
        digest = _digest(chain[-1][1] if chain else "", entry)
        line = json.dumps({**entry, "digest": digest}, sort_keys=True)
        whole = b"\n".join(self.path.read_bytes().split(b"\n")[: len(chain)]) if chain else b""
        with naming(self.path), open(self.path, "ab") as file:
            file.truncate(len(whole))
            file.write(b"\n" * bool(chain) + line.encode() + b"\n")
        self.confirm()

    def confirm(self) -> None:
        """Force what is written to disk, and let the head know of it: a kill may have come between."""
        chain = self._verified()
        if chain:
            sync(self.path)
            sync(self.path.parent)
            if self._head()[0] < len(chain):
                self._write_head(len(chain), chain[-1][1])

    def _verified(self) -> list[tuple[dict[str, Any], str]]:
        """Each entry with its digest."""
        self._only_name()
        count, last = self._head()  # before the entries, which another process may add to
        *lines, torn = self._text().split("\n")
        chain, digest = [], ""
        with contextlib.suppress(ValueError):
            json.loads(torn)
            lines.append(torn)
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
                stated = entry.pop("digest")
                if set(entry) not in ENTRIES:
                    raise ValueError
                if "open" in entry:
                    from_statement(entry["mechanism"])
            except (ValueError, KeyError, AttributeError, TypeError):
                raise ValueError(f"{self.path}:{number} is not a ledger entry; restore the file") from None
            digest = _digest(digest, entry)
            if stated != digest:
                raise ValueError(
                    f"{self.path}:{number} was edited by hand: its digest does not follow from the lines up to it; "
                    "restore the file"
                )
            chain.append((entry, digest))
        if count and (len(chain) < count or chain[count - 1][1] != last):
            raise ValueError(
                f"{self.path} held {count} entries that are not all there any more: it was cut short, deleted or "
                "written anew; restore it (what was released counts, whether or not it is written down)"
            )
        return chain

    def _text(self) -> str:
        if not self.path.exists() and not self.path.is_symlink():
            return ""
        try:
            return self.path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{self.path} is no text, so not a ledger; restore the file") from None

    def _head(self) -> tuple[int, str]:
        """How many entries there must be at least, and the digest of the last of these."""
        try:
            head = json.loads(self.head.read_text(encoding="utf-8"))
            if (count := int(head["entries"])) < 1:
                raise ValueError
            return count, str(head["digest"])
        except FileNotFoundError:
            return 0, ""
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{self.head} is damaged: it says how far {self.path} goes; restore it") from None

    def _only_name(self) -> None:
        """Refuse a folder that has a ledger under another name: a link, or a mount, of the same place."""
        if not self._private.startswith("folder:"):
            return
        for path in sorted(self.head.parent.glob("folder-*.json")):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                other = json.loads(path.read_text(encoding="utf-8"))["private"]
                places = [name.removeprefix("folder:") for name in (other, self._private)]
                if other != self._private and os.path.samefile(*places):
                    break
        else:
            return
        raise ValueError(
            f"{self._private} is the folder that was asked as {other}: use that name, or give it back if it was "
            "moved; it has one ledger"
        )

    def _write_head(self, count: int, digest: str) -> None:
        self.head.parent.mkdir(exist_ok=True)
        with replacing(self.head) as file:
            file.write(json.dumps({"private": self._private, "entries": count, "digest": digest}).encode())


def _digest(before: str, entry: dict[str, Any]) -> str:
    return hashlib.sha256(f"{before} {json.dumps(entry, sort_keys=True)}".encode()).hexdigest()[:32]
