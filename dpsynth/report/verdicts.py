"""What a rule says of results: one word, and the numbers behind it."""

from typing import NamedTuple

AGREES, DISAGREES, CANNOT_TELL = "agrees", "disagrees", "cannot tell"
NOT_COMPARABLE, NOT_RUN, ILLUSTRATION = "not comparable", "not run", "illustration"


class Judged(NamedTuple):
    """One row of claims.csv, but for what the parameter file says of all of its rows."""

    item: str
    claim: str
    rule: str
    metric: str
    cells: str
    paper: str
    ours: str
    interval: str
    seeds: int
    verdict: str
    needs: str = ""  # of a difference of accuracies: seeds to tell two points


def row(
    metric: str, cells: str, verdict: str, paper: str = "", ours: str = "", interval: str = "", seeds: int = 0
) -> Judged:
    """A row whose item, claim and rule are for the caller to fill."""
    return Judged("", "", "", metric, cells, paper, ours, interval, seeds, verdict)


def together(verdicts: list[str]) -> str:
    """One verdict for several cells that are claimed alike.

    >>> together(["agrees", "cannot tell"]), together(["agrees", "disagrees"]), together(["agrees", "agrees"])
    ('cannot tell', 'disagrees', 'agrees')
    """
    return next(v for v in (DISAGREES, NOT_RUN, CANNOT_TELL, NOT_COMPARABLE, AGREES, ILLUSTRATION) if v in verdicts)
