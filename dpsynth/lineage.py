"""The artifacts that a run needs before its evaluation, and under which names: known before any is made."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from dpsynth import privacy, store
from dpsynth.params import Params
from dpsynth.stages import planning


class Made(NamedTuple):
    """An artifact that a run needs: what it is, where it stands, or will, and the function that makes it.

    `lineage`: digests of its ancestors. `touch`: the plan's mechanism that it is asked under; None of what is public.
    """

    kind: str
    path: Path
    function: Callable
    digest: str
    lineage: tuple[str, ...]
    touch: str | None = None


def of(p: Params, private: privacy.Private) -> list[Made]:
    """The artifacts of `p`'s stages before evaluation, standing or not, in order. Makes nothing but the plan."""
    plan, row = planning.run(p), p.row
    made: list[Made] = []
    have: dict[str, Any] = {"private": private}

    def name(kind: str, function: Callable | None, touch: str | None = None) -> store.Stored | None:
        if function is None:
            return None
        upstream = store.named(function, have)
        digest = store.digest_of(kind, function, store.settings_of(function, p), upstream)
        made.append(Made(kind, store.folder(kind, digest), function, digest, store.lineage_of(upstream), touch))
        return store.Stored(artifact=store.Artifact(made[-1].path, digest, {"lineage": made[-1].lineage}))

    def touch(kind: str, twin: str, column: Any, *earlier: store.Stored) -> store.Stored | None:
        if column is None or not plan.is_private:
            return name(twin, column and column.exact)
        have["allowance"] = planning.allow(p, column, *earlier)
        return name(kind, column.ask, column.name)

    have["encoder"] = name("encoder", row.encoder)
    prior = touch("prior", "", row.prior)
    have["release"] = touch("release", "votes", row.release)
    have["corpus"] = name("corpus", row.corpus)
    have["base"] = name("base", row.base)
    have["probe"] = touch("probe", "", row.probe)
    touch("synthesiser", "twin", row.learn, *([prior] if prior else []))
    return made
