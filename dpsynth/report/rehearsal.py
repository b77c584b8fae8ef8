"""What a rehearsal measured, in sentences: whether the method earned its budget, what its images look like, what would
help. Numbers in, words out; `rehearsals` has them from runs.

The rules are few and look at nothing but what was measured. Of images with labels the score is the mean accuracy of
three classifiers that learned from synthetic images alone, and two rows differ if that is more than twice the standard
error of the test set (`margin`); of images without, it is how far they came from noise to real images (`way`).
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dpsynth.metrics.names import MEAN_OF, frechet
from dpsynth.report.paired import accuracy_error

HALFWAY = 0.5  # from noise to real images: what is not so far is nearer to noise
COVERED = 0.05  # share of the recall of real images: DPDM's blots, whose recall is 0.001, are below, all else above
PRIVATE, TWIN, BASE, FLOOR, REAL, NOISE = "private", "nonprivate", "pretrained", "floor_public", "real", "noise"
NAMES = {
    PRIVATE: "synthetic", TWIN: "non-private twin", BASE: "pre-trained alone", FLOOR: "selected public",
    REAL: "real", NOISE: "noise",
}  # fmt: skip


@dataclass(frozen=True)
class Rehearsed:
    """One rehearsal in numbers.

    Attributes:
        rows: metrics by row, of those of `NAMES` that the method has; accuracies in percent.
        named: share of the synthetic images that classifiers of real ones name as they are labelled, in percent; None
            without labels. chance: percent that guessing names; n_judges: images that judge.
        settings: of the run, by name, for advice: scale, epsilon, width, pretrain_steps, steps, n_records, ...
        query_epsilon: of all that the method asks before it learns.
    """

    rows: Mapping[str, Mapping[str, float]]
    named: float | None
    chance: float
    n_judges: int
    settings: Mapping[str, Any]
    query_epsilon: float

    @property
    def labelled(self) -> bool:
        """Whether accuracy means anything: there are labels, and real images teach them."""
        return self.named is not None and self.accuracy(REAL) > self.chance + self.margin(REAL)

    def accuracy(self, row: str) -> float:
        """Mean of the three classifiers, in percent."""
        return sum(self.rows[row][name] for name in MEAN_OF) / len(MEAN_OF)

    def distance(self, row: str) -> float:
        """The Frechet distance."""
        return self.rows[row][frechet(self.rows[row])]

    def way(self, row: str) -> float:
        """How far a row's images came from noise, 0, to real ones, 1, by the Frechet distance."""
        noise, real = self.distance(NOISE), self.distance(REAL)
        return (noise - self.distance(row)) / (noise - real)

    def margin(self, *rows: str) -> float:
        """Twice the standard error that the test set gives a difference of two accuracies, or one against chance."""
        return 2 * math.hypot(*(accuracy_error(self.accuracy(row), self.n_judges) for row in rows))

    def score(self, row: str) -> float:
        """By which rows are held against one another: percent, of accuracy or of the way."""
        return self.accuracy(row) if self.labelled else 100 * self.way(row)

    def gains(self, row: str, over: str) -> float:
        """Score of `row` less that of `over`; 0 where the test set cannot tell them apart."""
        gain = self.score(row) - self.score(over)
        return gain if not self.labelled or abs(gain) > self.margin(row, over) else 0.0

    def blots(self, row: str) -> str:
        """Why the images of a row are none, by distances alone; empty if they are."""
        if self.way(row) < HALFWAY:
            return "the images are nearer to noise than to real ones"
        if self.rows[row]["recall"] < COVERED * self.rows[REAL]["recall"]:
            return "hardly a real image has its like among them"
        return ""

    def failure(self, row: str) -> str:
        """Why the images of a row are of no use; empty if none of the rules says so."""
        if blots := self.blots(row):
            return blots
        if self.labelled and self.accuracy(row) <= self.chance + self.margin(row):
            return "a classifier learns no more of them than guessing"
        return ""


def verdict(r: Rehearsed) -> str:
    """One of: fails, floor, works, tie; of methods without a floor: fails, works."""
    over = r.gains(PRIVATE, FLOOR) if FLOOR in r.rows else None
    fails = bool(r.failure(PRIVATE))
    if over is not None and over < 0 and not (fails and r.failure(FLOOR)):
        return "floor"
    if fails:
        return "fails"
    return "tie" if over == 0 else "works"


def summary(r: Rehearsed) -> str:
    """The verdict as one sentence."""
    epsilon, query = f"{r.settings['epsilon']:g}", f"{r.query_epsilon:.3g}"
    return {
        "fails": f"Expect nothing of use: {r.failure(PRIVATE)}.",
        "floor": f"The method does not earn its budget: the public images that the query selects, for epsilon {query}, "
        f"are better than what it makes of them for {epsilon}.",
        "tie": f"The method works, and cannot be told from the public images that the query selects for epsilon "
        f"{query}, by {'accuracy' if r.labelled else 'their distance'}.",
        "works": "Expect images of use"
        + (f": better than the public ones that the query selects for epsilon {query}." if FLOOR in r.rows else "."),
    }[verdict(r)]


def sentences(r: Rehearsed) -> list[str]:
    """What was measured, for people: one line each."""
    return [*_quality(r), *_looks(r)]


def _quality(r: Rehearsed) -> Iterator[str]:
    if r.named is None:
        return
    if not r.labelled:
        yield "Even real images teach classifiers these labels no better than guessing: accuracy tells nothing here."
    others = [row for row in (FLOOR, BASE, TWIN, REAL) if row in r.rows and MEAN_OF[0] in r.rows[row]]
    compared = ", ".join(f"{NAMES[row]} {r.accuracy(row):.1f}" for row in others)
    yield (
        f"Classifiers that learned from the synthetic images alone name {r.accuracy(PRIVATE):.1f} % of {r.n_judges:,} "
        f"real ones rightly (± {r.margin(PRIVATE):.1f}), where guessing names {r.chance:.1f} %; {compared}."
    )
    yield (
        f"Classifiers that know the real images name {r.named:.1f} % of the synthetic ones as they are labelled, "
        f"and {r.accuracy(REAL):.1f} % of real ones."
    )


def _looks(r: Rehearsed) -> Iterator[str]:
    others = ", ".join(f"{NAMES[row]} {r.distance(row):.1f}" for row in NAMES if row in r.rows and row != PRIVATE)
    yield (
        f"{frechet(r.rows[PRIVATE])}, less is better: synthetic {r.distance(PRIVATE):.1f}, {others}: the synthetic "
        f"images have come {100 * max(r.way(PRIVATE), 0):.0f} % of the way from noise to real ones."
    )
    yield (
        f"{100 * r.rows[PRIVATE]['precision']:.0f} % of the synthetic images lie among the real ones (precision; of "
        f"real ones {100 * r.rows[REAL]['precision']:.0f} %), and {100 * r.rows[PRIVATE]['recall']:.0f} % of the real "
        f"ones among the synthetic (recall; {100 * r.rows[REAL]['recall']:.0f} %)."
    )


def advice(r: Rehearsed) -> list[str]:
    """What would help most, by what was measured; the first line first."""
    if FLOOR in r.rows and r.gains(PRIVATE, FLOOR) <= 0 and not r.failure(FLOOR):
        query = (
            f"The selection alone costs epsilon {r.query_epsilon:.3g}: `Run(params).corpus` asks the query and no more"
        )
        return [f"{query}, and its images are public ones.", *_levers(r)]
    return _levers(r)


def _levers(r: Rehearsed) -> list[str]:
    """The larger of two losses, before privacy and by it, says what to change."""
    if BASE in r.rows and r.blots(BASE):
        return [f"Already the pre-training, which costs no privacy, draws no images: {_larger(r)}."]
    if TWIN not in r.rows:
        return [f"The method has no non-private twin that would tell network from budget; first {_larger(r)}."]
    if r.failure(TWIN):
        return [f"Without clip and noise it fails as well, so more epsilon would not help: {_longer(r)}."]
    privacy, learning = max(r.gains(TWIN, PRIVATE), 0), max(r.gains(REAL, TWIN), 0)
    if privacy > learning:
        return [f"Most is lost to clip and noise ({_lost(r, privacy)} below its non-private twin): {_budget(r)}."]
    if learning > 0:
        lost = f"{_lost(r, learning)} between the non-private twin and real images, {_lost(r, privacy)} for privacy"
        return [f"Most is lost before privacy ({lost}): {_longer(r)}."]
    return []


def _lost(r: Rehearsed, gap: float) -> str:
    return f"{gap:.1f} points of {'accuracy' if r.labelled else 'the way'}"


def _larger(r: Rehearsed) -> str:
    s = r.settings
    scale = f"a larger scale ({', '.join(s['larger'])}), or " if s["larger"] else ""
    sizes = f"pretrain_steps: {4 * s['pretrain_steps']} and width: {2 * s['width']}"
    return f"{scale}{sizes} (now {s['pretrain_steps']} and {s['width']})"


def _longer(r: Rehearsed) -> str:
    s = r.settings
    return f"steps: {4 * s['steps']} (now {s['steps']}), then {_larger(r)}"


def _budget(r: Rehearsed) -> str:
    s = r.settings
    rate = (
        f"sample_rate: {min(1, 2 * s['sample_rate']):g} (more records a step, at the same epsilon), "
        if s["sample_rate"] < 1
        else ""
    )
    return f"{rate}more epsilon (now {s['epsilon']:g}), more records (now {s['n_records']:,}) or fewer labels"
