"""What the notebooks print: small tables of a plan, a corpus, a base, a certificate, a measurement."""

import pandas as pd

from dpsynth.artifacts import Base, Codes, Encoder, LabelCounts, Perceptual
from dpsynth.budget import risk
from dpsynth.budget.certificate import REPLACE
from dpsynth.figures.style import Picture
from dpsynth.metrics.names import ACCURACIES, FRECHET
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.privacy import Plan
from dpsynth.privacy.accounting import ADJACENCY
from dpsynth.privacy.mechanisms import from_statement
from dpsynth.report import items, results, run_files
from dpsynth.report.audit import Audit
from dpsynth.stages import label_prior

pd.set_option("display.max_colwidth", None)  # a claim is a sentence, and shown whole


def badge(p: Params) -> str:
    """The line under every figure: at which scale it was made, of what."""
    scale = "smoke scale: too small to mean anything" if p.scale == "smoke" else f"{p.scale} scale, not the papers'"
    return f"{scale} | {p.method}, {p.private}, public {p.public}, epsilon {p.epsilon:g}, seed {p.seed}"


def plan(plan: Plan) -> pd.DataFrame:
    """Every mechanism of a plan, a row each, with its noise and both sensitivities."""
    if not plan.mechanisms:
        return pd.DataFrame({"plan": ["none: the non-private twin, no clip, no noise"]})
    rows = [
        {
            "mechanism": m.name, "kind": m.kind, "noise multiplier": round(m.noise_multiplier, 4), "rate":
            m.sample_rate, "count": m.steps, "sensitivity (add/remove)": round(m.sensitivity, 4),
            "sensitivity (replace)": round(m.sensitivity_replace, 4),
        }
        for m in plan.mechanisms
    ]  # fmt: skip
    spent = f"epsilon {plan.spent():.4f} of {plan.epsilon:g} at delta {plan.delta:g}, {ADJACENCY}"
    caption = f"{plan.private}: {spent if plan.is_private else 'and then the twin learns without clip and noise'}"
    return pd.DataFrame(rows).set_index("mechanism").rename_axis(columns=caption)


def audits(audits: list[Audit]) -> pd.DataFrame:
    """Audits beside each other: what each claims, and what was proved against it."""
    rows = [
        {
            "noise": f"{a.noise:g} x planned", "claimed epsilon": a.claim,
            "right guesses": f"{a.correct} of {a.guesses}", "epsilon is at least": round(a.bound, 2),
            "verdict": "claim refuted" if a.refutes else "claim stands",
        }
        for a in audits
    ]  # fmt: skip
    return pd.DataFrame(rows).set_index("noise")


def encoder(encoder: Encoder | Codes | Perceptual | None) -> str:
    """What a network trained on public images, before all else, is good for."""
    if encoder is None:
        return "none: this method needs no network before its base"
    if isinstance(encoder, Perceptual):
        return "VGG-19, as torchvision publishes it: trained on ImageNet by others"
    if isinstance(encoder, Codes):
        return f"an autoencoder: root mean square error {encoder.error:.3f} on held-out public images, in [-1, 1]"
    return f"a classifier: right on {encoder.accuracy:.1%} of held-out public images"


def prior(prior: LabelCounts | None, p: Params) -> pd.DataFrame:
    """How many samples of each label there will be, and why."""
    if prior is None:
        return pd.DataFrame({"labels of samples": [f"equally many of each of {p.n_classes}: a public constant"]})
    n = label_prior.proportional(prior, p.n_synthetic).bincount(minlength=p.n_classes)
    rows = {"private label": p.constants.classes, "noisy count": prior.counts.tolist(), "samples": n.tolist()}
    return pd.DataFrame(rows).set_index("private label")


def selection(run: Run) -> str:
    """Size and share of the corpus."""
    corpus, public = run.corpus, run.public
    if corpus is None:
        return "no images: the base is not trained on any"
    if not corpus.chosen:
        return f"{len(corpus.labels):,} images ({corpus.provenance}), {corpus.n_labels} labels"
    n_classes = sum(map(len, corpus.chosen))
    ratio = 100 * n_classes / len(public.classes)
    return (
        f"{len(corpus.labels):,} of {len(public.labels):,} public images, {n_classes} of {len(public.classes)} classes "
        f"(selection ratio {ratio:.1f} percent; {corpus.provenance}), {corpus.n_labels} labels"
    )


def label_map(run: Run) -> pd.DataFrame:
    """Private label -> public classes, where the corpus has such a map."""
    corpus = run.corpus
    if corpus is None or not (corpus.private_labels and corpus.chosen):
        return pd.DataFrame({"map": ["none: no public class was given to a private label"]})
    between = ", " if any(" " in name for name in run.public.classes) else " "  # glyphs read better without
    picks = [between.join(run.public.classes[c] for c in row) for row in corpus.chosen]
    labels = run.params.constants.classes
    return pd.DataFrame({"private label": labels, "public classes": picks}).set_index("private label")


def base(base: Base) -> str:
    """Size of the base model and what its training said."""
    if not base.weights:
        return "nothing to train: a renderer draws the images"
    weights = sum(w.numel() for w in base.weights.values())
    clean = base.history.get("clean", [])
    trained = f"trained for {len(clean):,} steps" if clean else "random weights, not trained"
    binds = base.history.get("binds", [])
    bound = f"; the projection bound in {100 * sum(binds) / len(binds):.0f} percent of them" if binds else ""
    return f"{weights:,} weights, {trained}{bound}"


def certificate(certificate: dict) -> pd.DataFrame:
    """Epsilon of a run by every accountant, and beside that of record an attacker's right guesses."""
    if not certificate["releases"]:
        return pd.DataFrame({"certificate": [certificate["status"]]})
    figures = {f"{certificate['accountant']} (of record)": certificate["epsilon"], **certificate["also"]}
    mechanisms = [from_statement(entry["mechanism"]) for entry in certificate["releases"]]
    epsilon, delta = certificate["epsilon"], certificate["delta"]
    guesses = [risk.right_guesses(mechanisms, epsilon, delta, replace) for replace in (False, True)]
    table = pd.DataFrame({"epsilon": figures}).round(4)
    table["right guesses of 100, at most"] = [
        guesses[by == REPLACE] if by == REPLACE or i == 0 else "" for i, by in enumerate(figures)
    ]
    return table.rename_axis(f"accountant, delta {certificate['delta']:g}", axis=0).rename_axis(
        certificate["status"], axis=1
    )


def certificate_of_set(stated: dict) -> str:
    """What was ever released of a set, and its composition, as text."""
    release = "  {:.16}  {:<6}  {name}: {kind}, noise multiplier {noise_multiplier:.4g}, rate {sample_rate:g}, x{steps}"
    lines = [
        f"{stated['private']}: {len(stated['releases'])} releases, epsilon {stated['epsilon']:.4f} at delta "
        f"{stated['delta']:g}",
        f"  by {stated['accountant']}; neighbours: {stated['adjacency']}",
        *(f"  {name}: {value:.4f}" for name, value in stated["also"].items()),
        *(f"  {sentence}" for sentence in risk.words(stated)),
        *(release.format(entry["open"], entry["noise"], **entry["mechanism"]) for entry in stated["releases"]),
    ]
    return "\n".join(lines)


def metrics(run: Run) -> pd.DataFrame:
    """Metrics of a run, with what its synthesiser says of itself, and of its reference rows."""
    if not run.measurements:
        return pd.DataFrame({"metrics": ["none: a folder set is not measured; see samples and certificate"]})
    rows = {row: measured.values for row, measured in run.measurements.items()}
    rows[run.row_name] = rows[run.row_name] | run_files.facts(run)
    table = pd.DataFrame(rows).T.round(3).astype(object).fillna("")
    table.insert(0, "n_synthetic", [measured.n_synthetic for measured in run.measurements.values()])
    return table.rename_axis("method")


def minutes(expected: float) -> str:
    """A time, as one says it."""
    return f"about {expected:.0f} minutes" if expected >= 1.5 else "about a minute" if expected > 0.5 else "seconds"


def beside_papers(run: Run) -> pd.DataFrame:
    """What is measured here, and what the papers print for the same method and epsilon on other data."""
    p, papers = run.params, results.published()
    at = papers[(papers["epsilon"] == p.epsilon) & (papers["method"] == run.row_name)]
    rows = at[at["metric"].isin([*ACCURACIES, "accuracy", "FID"])]
    values = run.measurements[run.row_name].values if run.measurements else {}
    here = {"source": f"here ({p.scale})", "dataset": p.private, "method": run.row_name, "epsilon": p.epsilon}
    ours = [here | {"metric": m, "value": values[m]} for m in (*ACCURACIES, *FRECHET) if m in values]
    return pd.concat([pd.DataFrame(ours), rows], ignore_index=True).round(2).fillna("")


def verdicts(name: str, *shown: str) -> pd.DataFrame:
    """The verdicts of a parameter file by its rules, from results/; if columns are named, of these alone, the first two
    as headings of the rows: pandas cuts a long claim off elsewhere."""
    item = items.committed(name)
    if item.rows.empty:
        return pd.DataFrame({"verdict": [f"not run, or not committed: `{item.command}` makes it"]})
    table = items.verdicts(item)
    return table[list(shown)].set_index(list(shown[:2])) if shown else table


def figure(name: str, what: str) -> Picture | None:
    """A figure of a parameter file, from results/, as of `items.draw`; None where it was not run."""
    item = items.committed(name)
    return items.draw(item).get(what) if len(item.rows) else None
