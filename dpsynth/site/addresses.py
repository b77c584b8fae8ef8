"""Which page of the site a file of the project is. Addresses are stable: no digest, seed or date stands in them."""

from pathlib import PurePosixPath

LEARNT = ("teaching", "exercises/index")
START = ("what-is-this", "does-rpgen-hold", "own-images", "running")
FOUND = ("tables/index", "claims", "results", "errors", "differences", "artifact")
PAGES = {
    "README.md": "index", "ARTIFACT.md": "artifact", "docs/items.md": "tables/index",
    "notebooks/methods": "methods/index", "dpsynth/privacy/README.md": "guarantee-code",
    "exercises/README.md": "exercises/index",
}  # fmt: skip
FOLDERS = {
    "docs/items": "tables/", "docs": "", "notebooks": "story/", "notebooks/methods": "methods/", "site": "",
    "site/interactive": "interactive/", "exercises": "exercises/",
}  # fmt: skip
PICTURES = {"docs/items": "tables", "results": "images", "docs": "images"}


def page_of(path: str) -> str | None:
    """The page of a file of the project, whether or not it was collected; None for source code and folders.

    >>> page_of("docs/items/rpgen_fig5.md"), page_of("notebooks/02_selection.py"), page_of("dpsynth/store.py")
    ('tables/rpgen_fig5', 'story/02_selection', None)
    """
    place = PurePosixPath(path)
    if path in PAGES or place.suffix not in (".md", ".py"):
        return PAGES.get(path)
    folder = FOLDERS.get(str(place.parent))
    return None if folder is None else f"{folder}{place.stem}"


def picture_of(path: str) -> str | None:
    """Where a picture of the project lies on the site.

    >>> picture_of("results/hero.png")
    'images/hero.png'
    """
    place = PurePosixPath(path)
    folder = PICTURES.get(str(place.parent))
    return f"{folder}/{place.name}" if folder else None
