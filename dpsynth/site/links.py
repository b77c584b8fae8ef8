"""Links of a file of the project, as the page of the site needs them."""

import posixpath
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from dpsynth.site import addresses

# Fenced code, a link or a picture (its text may hold code), code: the first that begins is taken whole.
PIECE = re.compile(
    r"^(?P<fence>```+).*?^(?P=fence)|(?P<mark>!?)\[(?P<text>(?:`[^`]*`|[^\[\]`])*)\]\((?P<target>[^()\s]+)\)|`[^`]*`",
    re.DOTALL | re.MULTILINE,
)


def rewritten(text: str, source: str, page: str, files: Mapping[str, str], pictures: dict[str, str]) -> str:
    """`text` with each relative link to a page of the site, or, where its target is no page, with its text alone; and
    with links from code that is the path of a page's file, as notebooks name each other.

    Args:
        source: the file of the project that the text is of; page: the page it becomes.
        files: of each page of the site, its file; pictures: is added to, file of the project by place on the site.
    Raises:
        ValueError: a picture lies in a folder that the site does not take pictures from.

    >>> rewritten("[a](b.md#c), [code](../dpsynth/store.py)", "docs/x.md", "tables/x", {"b": "b.md"}, {})
    '[a](../b.md#c), code'
    >>> rewritten("`docs/b.md`", "notebooks/x.py", "story/x", {"b": "b.md"}, {})
    '[`docs/b.md`](../b.md)'
    """
    folder = PurePosixPath(source).parent

    def piece(match: re.Match) -> str:
        target = match["target"]
        if target is None and (named := files.get(addresses.page_of(match[0].strip("`")) or "")):
            return f"[{match[0]}]({_from(page, named)})"
        if target is None or re.match(r"\w+:|#", target):
            return match[0]
        path, _, anchor = target.partition("#")
        path = posixpath.normpath((folder / path).as_posix())
        if match["mark"]:
            place = addresses.picture_of(path)
            if place is None:
                raise ValueError(f"{source}: the picture {path} lies in no folder that the site takes pictures from")
            pictures[place] = path
            return f"![{match['text']}]({_from(page, place)})"
        file = files.get(addresses.page_of(path) or "")
        return f"[{match['text']}]({_from(page, file)}{f'#{anchor}' if anchor else ''})" if file else match["text"]

    return PIECE.sub(piece, text)


def _from(page: str, file: str) -> str:
    """The path of a file of the site as a page names it."""
    return posixpath.relpath(file, posixpath.dirname(page) or ".")
