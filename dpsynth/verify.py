"""Check a certificate of dpsynth without dpsynth: this one file needs Python and numpy, `python verify.py FILE`.

What it computes. Two worlds are compared, P with a record and Q without it. The privacy loss of an outcome is log P/Q;
losses of independent releases add up, and delta(epsilon) = E_P[max(0, 1 - exp(epsilon - loss))] (Koskela et al. 2020).
The loss of one release is put on a grid, the sum over all comes from one FFT, epsilon at the stated delta by bisection.

Why the answer is a bound on both sides. A loss moves to the nearest point of the grid, within a bin. In a bin the mean
of exp(-loss) is Q's mass over P's; so the mean loss is known up to width^2 / 8 (Hoeffding's lemma), and is put back.
What is left of n roundings is a sum of independent numbers of mean zero. It passes width sqrt(n/2 log(1/p)) with
probability p at most (Hoeffding 1963; the idea is of Gopi et al. 2021), and p is charged to delta. So is what lies
beyond the FFT's window, by Chernoff's bound, and floating point. The accountant that wrote the certificate discretises
in another way (Doroshenko et al. 2022), and shares no code with this.
"""

import bisect
import json
import math
import sys

import numpy as np

BINS = 2**19  # of the window of losses, at least
UNLIKELY = 1e-4  # part of delta that goes to Hoeffding's and Chernoff's bounds
ROUNDING = 1e-15  # what floating point may take from delta, for each release: some units in the last place
FAR = 10.0  # standard deviations of noise beyond which nothing is counted, 1e-23 of it
ABOVE = 0.005  # by which part a stated epsilon may lie above: its accountant errs on the safe side, by less than that
LARGEST, LARGEST_NOISE = 1e12, 2e5  # of any number, and of the noise in a count: more takes gigabytes
LEAST_NOISE = 1e-3  # less hides nothing, and its losses are past floating point
COUNTS = "discrete Gaussian on counts"
BOUNDS = {  # of each kind of release: what bounds one record's part
    COUNTS: "votes",
    "Gaussian on bounded sums": "bound",
    "Poisson-subsampled Gaussian on clipped gradients": "max_grad_norm",
}
FIELDS = {"kind", "name", "steps", "sample_rate", "noise_multiplier", "sensitivity", "sensitivity_replace", "scale"}
CONSTANTS = {"divisor", "noise_multiplicity"}  # these cost nothing, as long as they are constants
AGREES, DISAGREES, UNREADABLE = 0, 1, 2  # exit codes
WHOLE = ("votes", "steps", "noise_multiplicity", "n_records", "releases")
RELATION, REPLACE = "add or remove one record", "PLD, replace one record"
OF_SET = "ledger"  # stands in what `dpsynth certificate --json` says of all releases of a set, which has no plan
CLAIMS = {"private", "adjacency", "delta", "epsilon", "accountant", "also", "releases"}  # of both
OF_RUN = {"n_records", "epsilon_target", "mechanisms", "status", "noise", "set_total"}
ACCOUNTANTS = {REPLACE, "PRV", "RDP", "RDP, classic"}  # all but the first add or remove a record
TOTALS = {"epsilon", "delta", "epsilon, replace one record", "releases"}
MAY_BE_0 = ACCOUNTANTS | {"epsilon", "epsilon, replace one record"}
UNCOUNTED = "none that is finite", "delta="  # how a total begins that could not be computed
REPRODUCED = (
    "The noise follows from a published seed: this is a reproduction, and protects nobody. Whoever has the code can\n"
    "draw the noise again and take it away; epsilon is what the same run would cost with secret noise."
)
VACUOUS = "Delta is not below 1/{n_records}: a method that publishes a whole record may keep such a promise."
LIMITS = (
    "What the file cannot tell: that the code did what is written here, and with coins that nobody else has; that\n"
    "nothing else was released of these records; or that noise and epsilon were not edited together, to fit."
)


def masses(x, mean, noise):
    """Probabilities of a normal variable between neighbours of the rising `x`, exact in both tails."""
    z = (x - mean) / noise
    tail = np.fromiter(map(math.erfc, np.abs(z) / math.sqrt(2)), float, len(z)) / 2
    return np.diff(np.where(z < 0, tail, -tail)) + np.diff((z >= 0).astype(float))


def gaussian(noise, rate, replace, h):
    """A Poisson-subsampled Gaussian release, in units of a record's bound: points of the grid, P, Q, widest bin.

    P draws the record at `rate`. Q does not have it or, under `replace`, has one that pulls as far the other way.
    """

    def loss(x):
        with np.errstate(divide="ignore"):  # rate 1
            pulls = [np.logaddexp(np.log1p(-rate), math.log(rate) + (y - 0.5) / noise**2) for y in (x, -x)]
        return pulls[0] - pulls[1] if replace else pulls[0]

    x = np.linspace(-FAR * noise - (1 if replace else 0), FAR * noise + 1, 2**16)
    losses = loss(x)
    k = np.arange(round(losses[0] / h), round(losses[-1] / h) + 1)
    edges = np.interp(np.append(k - 0.5, k[-1] + 0.5) * h, losses, x)  # about: what counts are the losses there
    ends = loss(edges)
    still, pulled = masses(edges, 0, noise), masses(edges, 1, noise)
    other = masses(edges, -1, noise) if replace else still
    width = 2 * max(np.max(k * h - ends[:-1]), np.max(ends[1:] - k * h))
    return k, (1 - rate) * still + rate * pulled, (1 - rate) * still + rate * other, width


def counted(scale, h):
    """One count that moves by 1 under discrete Gaussian noise (Canonne et al. 2020): as `gaussian`."""
    x = np.arange(-math.ceil(FAR * scale), math.ceil(FAR * scale) + 2)
    p, q = (np.exp(-((x - moved) ** 2) / (2 * scale**2)) for moved in (1, 0))
    k = np.rint((x - 0.5) / scale**2 / h).astype(int)
    p, q = (np.bincount(k - k[0], weights=mass / mass.sum()) for mass in (p, q))
    return np.arange(k[0], k[-1] + 1), p, q, h


def on_grid(releases, replace, swapped, h):
    """For each release: repetitions, points of the grid, P, Q, widest bin; `swapped`: the worlds change places."""
    for release in releases:
        n, noise, rate = (release[name] for name in ("steps", "noise_multiplier", "sample_rate"))
        if release["kind"] == COUNTS:  # `votes` counts move by 1; to replace a record moves as many again
            n *= release["votes"] * (2 if replace else 1)
            k, p, q, width = counted(noise * math.sqrt(release["votes"]), h)
        else:  # steps that draw every record are one with less noise
            noise, n = (noise / math.sqrt(n), 1) if rate == 1 else (noise, n)
            k, p, q, width = gaussian(noise, rate, replace, h)
        k, p, q = (-k[::-1], q[::-1], p[::-1]) if swapped else (k, p, q)
        yield n, k[p > 0], p[p > 0], q[p > 0], width


def end(parts, h, order, tail):
    """Chernoff: beyond it the sum of losses lies with probability `tail` at most; below it where order < 0."""
    moment = 0.0
    for n, k, p, *_ in parts:
        powers = order * h * k + np.log(p)
        moment += n * (powers.max() + math.log(np.exp(powers - powers.max()).sum()))
    return (moment - math.log(tail)) / order


def composed(releases, delta, replace, swapped):
    """Losses, their probabilities, how far the true sum may lie below and above them, and what delta is charged."""
    tail = UNLIKELY * delta / 4
    noises = [r["noise_multiplier"] / math.sqrt(r["steps"] if r["sample_rate"] == 1 else 1) for r in releases]
    first = max(FAR / noise + noise**-2 for noise in noises) / 1000  # bins of a first look at the widest loss
    parts = list(on_grid(releases, replace, swapped, first))
    orders = 2.0 ** np.arange(-30, 31)
    up = min(orders, key=lambda order: end(parts, first, order, tail))
    down = max(-orders, key=lambda order: end(parts, first, order, tail))
    h = max(1.02 * (end(parts, first, up, tail) - end(parts, first, down, tail)) / BINS, first / 4000)
    parts = list(on_grid(releases, replace, swapped, h))
    low, high = (math.floor(end(parts, h, order, tail) / h) for order in (down, up))
    size = 1 << (high - low + 1).bit_length()
    transform, back, unknown, squares, n_all = 1.0, 0.0, 0.0, 0.0, 0
    for n, k, p, q, width in parts:
        transform = transform * np.fft.rfft(np.bincount(k % size, weights=p, minlength=size)) ** n
        known = q > 0  # elsewhere Q's mass underflows, and the mean loss is anywhere in its bin
        means = np.clip(np.log(p[known]) - np.log(q[known]) - k[known] * h, -width / 2, width / 2)
        back, unknown = back + n * (p[known] @ means), unknown + n * p[~known].sum() * width / 2
        squares, n_all = squares + n * width**2, n_all + n
    p = np.roll(np.fft.irfft(transform, size), -(low % size))
    strays = math.sqrt(squares / 2 * math.log(1 / tail)) + unknown
    charged = 3 * tail + ROUNDING * (n_all + 20)
    return (low + np.arange(size)) * h, p, back - strays, back + strays + squares / 8, charged


def bounds(releases, delta, replace):
    """(low, high, advantage): what epsilon of the composition lies between, and delta at epsilon 0, at most.

    Raises:
        ValueError: delta is finer than floating point can tell over so many releases.
    """
    if not releases:
        return 0.0, 0.0, 0.0
    found = []
    for swapped in (False,) if replace else (False, True):
        losses, p, down, up, charged = composed(releases, delta, replace, swapped)
        if charged > delta / 2:
            raise ValueError(f"delta={delta:g} is finer than floating point can tell over so many releases")
        gains = -np.expm1(losses[0] - losses)

        def left(j, p=p, gains=gains):
            return -float(np.sum(p[j:] * gains[: len(p) - j]))  # minus delta at losses[j]

        low = bisect.bisect_left(range(len(p)), -delta - charged, key=left)
        high = bisect.bisect_left(range(len(p)), charged - delta, key=left)
        zero = max(0, int(np.searchsorted(losses, -up)) - 1)
        found.append((losses[low - 1] + down if low else 0.0, losses[high] + up, charged - left(zero)))
    return tuple(float(max(0.0, *column)) for column in zip(*found, strict=True))


def number(stated, name, where, largest=LARGEST):
    """The number above 0 of that name; ValueError if there is none."""
    if name not in stated:
        raise ValueError(f"{where} has no {name}: it is incomplete, or not of dpsynth")
    value, whole = stated[name], name in WHOLE
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    least = 0 if name in MAY_BE_0 else sys.float_info.min
    if not (is_number and least <= value <= largest) or (whole and value % 1):
        above = "from 0 to" if least == 0 else "above 0 and at most"
        belongs = f"{'a whole number' if whole else 'a number'} {above} {largest:g}"
        raise ValueError(f"{where} states {name} {value!r:.40}, where {belongs} belongs")
    return value


def shown(value):
    """A text as it can be printed: without what would write elsewhere on a terminal, or hide what stands there."""
    if not isinstance(value, str):
        return value
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in value)


def read(text):
    """The certificate that a text is, each number in it a possible one; ValueError, a sentence, if it is none."""

    def once(pairs):
        names = [name for name, _ in pairs]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"it states {shown(twice[0])} twice: it was edited")
        return {shown(name): shown(value) for name, value in pairs}

    try:
        stated = json.loads(text, object_pairs_hook=once)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"it is not JSON, or was cut short ({error})") from None
    if not isinstance(stated, dict) or not isinstance(stated.get("releases"), list):
        raise ValueError("it has no list of releases, so it is not a certificate of dpsynth")
    of_set = OF_SET in stated
    if unknown := sorted(stated.keys() - CLAIMS - ({OF_SET} if of_set else OF_RUN)):
        raise ValueError(f"it states {unknown[0]:.40}, which this check knows nothing of")
    for entry in stated["releases"]:
        possible(entry.get("mechanism") if isinstance(entry, dict) else None)
    if stated["releases"] or stated.get("epsilon") != "none":
        kinds = {"private": str, "adjacency": str, "also": dict}
        kinds |= {} if of_set else {"mechanisms": list, "status": str, "noise": str, "set_total": dict}
        for name, kind in kinds.items():
            if not isinstance(stated.get(name), kind):
                raise ValueError(f"its {name} is missing, or of another kind: it is incomplete, or not of dpsynth")
        figures(stated, of_set)
    return stated


def figures(stated, of_set):
    """Raise ValueError, a sentence, unless all figures beside the releases are possible ones."""
    number(stated, "epsilon", "it"), number(stated, "delta", "it", 1 - 1e-9)
    if stated["adjacency"] != RELATION:
        raise ValueError(f"its neighbours are {stated['adjacency']!r:.40}; this check knows {RELATION!r} alone")
    for name in stated["also"]:
        if name not in ACCOUNTANTS:
            raise ValueError(f"it states epsilon by {name!r:.40}, an accountant that this check does not know")
        number(stated["also"], name, "it")
    if of_set:
        return
    for name in ("n_records", "epsilon_target"):
        number(stated, name, "it")
    for planned in stated["mechanisms"]:
        possible(planned)
    total = stated["set_total"]
    if total.keys() != TOTALS:
        raise ValueError(f"its set_total has not {', '.join(sorted(TOTALS))}, all of them and no other")
    for name in sorted(TOTALS):
        if name not in MAY_BE_0 or not str(total[name]).startswith(UNCOUNTED):
            number(total, name, "its set_total")


def possible(release):
    """Raise ValueError, a sentence, unless this is a release whose cost can be computed."""
    if not isinstance(release, dict) or str(release.get("kind")) not in BOUNDS or "name" not in release:
        raise ValueError(f"it lists a release of no kind that is known here: {release!r:.60}")
    where = f"its release {release.get('name')!r:.40}"
    for name in (BOUNDS[release["kind"]], "steps", "sensitivity", "sensitivity_replace", "scale"):
        number(release, name, where)
    if unknown := sorted(release.keys() - FIELDS - CONSTANTS - {BOUNDS[release["kind"]]}):
        raise ValueError(f"{where} states {unknown[0]:.40}, which this check knows nothing of")
    for name in release.keys() & CONSTANTS:
        number(release, name, where)
    number(release, "sample_rate", where, 1)
    noise = number(release, "noise_multiplier", where, LARGEST_NOISE)
    if noise < LEAST_NOISE:
        raise ValueError(f"{where} has noise_multiplier {noise:g}, which hides nothing: no epsilon is computed for it")
    if release["kind"] == COUNTS and noise * math.sqrt(release["votes"]) > LARGEST_NOISE:
        raise ValueError(
            f"{where} has noise of more than {LARGEST_NOISE:g} votes, which this check cannot hold in memory"
        )


def contradictions(stated, releases):
    """What the file says in one place and denies in another, a sentence each."""
    for release in releases:
        counts = release["kind"] == COUNTS
        bound = math.sqrt(release["votes"]) if counts else release[BOUNDS[release["kind"]]]
        moves = {"sensitivity": bound, "sensitivity_replace": bound * (math.sqrt(2) if counts else 2)}
        for name, value in (moves | {"scale": bound * release["noise_multiplier"]}).items():
            if not math.isclose(release[name], value, rel_tol=1e-9):
                yield f"{name} of {release['name']} is {release[name]:.6g}, and by its other numbers {value:.6g}"
        if counts and release["sample_rate"] != 1:
            yield f"{release['name']} counts at rate {release['sample_rate']:g}, and a count asks every record"
    if OF_SET in stated:
        return
    planned, total = stated["mechanisms"], stated["set_total"]
    yield from (f"the plan has {m['name']} as it was not released" for m in planned if m not in releases)
    yield from (f"{m['name']} was released as the plan does not have it" for m in releases if m not in planned)
    if total["delta"] != stated["delta"]:
        yield f"delta is {stated['delta']:g}, and {total['delta']:g} of all releases of the set"
    if total["releases"] < len(releases):
        yield f"of the set there are {total['releases']} releases in all, and {len(releases)} are listed"
    if {str(entry.get("noise")) for entry in stated["releases"]} != {stated["noise"]}:
        yield f"the noise is {stated['noise']}, and another in the releases"
    if stated["status"].startswith("a reproduction") != (stated["noise"] == "seeded"):
        yield f"the noise is {stated['noise']}, and the status says: {stated['status']}"


def judged(stated, plain, replace):
    """What the stated figures and the computed (low, high) deny of each other, a sentence each."""
    total = stated.get("set_total", {})
    claims = [("epsilon", stated["epsilon"], plain, True)]
    claims += [(by, value, replace if by == REPLACE else plain, by == REPLACE) for by, value in stated["also"].items()]
    claims += [("epsilon of all releases of the set", total.get("epsilon"), plain, False)]
    claims += [("the same, replace one record", total.get("epsilon, replace one record"), replace, False)]
    for name, value, (low, high), of_record in claims:
        if not isinstance(value, int | float):
            continue  # what could not be added up is said in words
        if not value >= low:
            yield f"{name} is stated as {value:.6g}, and is {low:.6g} at least: it costs more than that"
        elif of_record and value > high * (1 + ABOVE) + 1e-4:
            yield f"{name} is stated as {value:.6g}, and is {high:.6g} at most: it was computed of other releases"
    if OF_SET not in stated and stated["epsilon"] > stated["epsilon_target"]:
        yield f"epsilon {stated['epsilon']:.6g} is above the budget of {stated['epsilon_target']:g}: it was not kept"


def verified(text):
    """What a certificate claims and what comes out, in sentences, and what does not agree, a sentence each.

    Raises:
        ValueError: the text is no certificate, or one with numbers that cannot be; says why.
    """
    stated = read(text)
    if not stated["releases"] and stated["epsilon"] == "none":
        lines = ["The certificate claims no privacy at all: its run used the private records without noise."]
        budget = stated.get("epsilon_target")
        return lines, [] if isinstance(budget, str) else [f"epsilon is none, and its budget {budget!r:.40}"]
    delta, releases = stated["delta"], [entry["mechanism"] for entry in stated["releases"]]
    alike = {json.dumps(release, sort_keys=True): release for release in releases}
    grouped = [r | {"steps": r["steps"] * sum(r == other for other in releases)} for r in alike.values()]
    (low, high, tv), (low_r, high_r, tv_r) = (bounds(grouped, delta, replace) for replace in (False, True))
    claimed = stated["also"].get(REPLACE)
    replacing = f", {claimed:.6g} to replace one" if claimed is not None else ""
    lines = [
        f"Claimed of {stated['private']}: epsilon {stated['epsilon']:.6g} to {RELATION}{replacing}; delta {delta:g}.",
        f"Computed here: epsilon from {low:.6g} to {high:.6g}; to replace one, from {low_r:.6g} to {high_r:.6g}.",
    ]
    for release in grouped if len(grouped) > 1 and OF_SET not in stated else ():
        (_, alone, _), (_, alone_r, _) = (bounds([release], delta, replace) for replace in (False, True))
        lines.append(f"  {release['name']} alone: at most {alone:.4g}; to replace one, {alone_r:.4g}.")
    if OF_SET not in stated and stated["epsilon"] <= stated["epsilon_target"]:
        lines.append(f"Budget: epsilon {stated['epsilon_target']:g}, and it was kept.")
    if OF_SET not in stated and delta * stated["n_records"] >= 1:
        lines.append(VACUOUS.format(n_records=stated["n_records"]))
    right, right_r = (math.ceil(1000 * (1 + min(1, t)) / 2) / 10 for t in (tv, tv_r))
    lines.append(
        "An attacker who knows all other records and sees all that was released guesses right, whether a given record\n"
        f"was among them, at most {right:.1f} times of 100 (which of two it was: {right_r:.1f}); by chance, 50."
    )
    if any(entry.get("noise") != "secret" for entry in stated["releases"]):
        lines.append(REPRODUCED)
    wrong = [*contradictions(stated, releases), *judged(stated, (low, high), (low_r, high_r))]
    return [*lines, LIMITS], wrong


def verdict(wrong):
    """The last line: whether all agrees."""
    if wrong:
        return f"DOES NOT AGREE: {'; '.join(wrong)}. Do not rely on it."
    return "AGREES: what the certificate claims follows from the releases that it lists."


def text_of(path):
    """The text of a file; ValueError if it has none."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except UnicodeDecodeError:
        raise ValueError("it is not text") from None


def main(argv):
    """`python verify.py FILE`: 0 if the certificate agrees, 1 if not, 2 if it is none."""
    if len(argv) != 1:
        print("usage: python verify.py CERTIFICATE.json", file=sys.stderr)
        return UNREADABLE
    try:
        lines, wrong = verified(text_of(argv[0]))
    except (OSError, ValueError) as error:
        print(f"error: {argv[0]} cannot be checked: {error}", file=sys.stderr)
        return UNREADABLE
    print(*lines, verdict(wrong), sep="\n")
    return DISAGREES if wrong else AGREES


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
