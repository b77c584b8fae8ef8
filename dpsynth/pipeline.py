"""A run: one method on one private set, from its plan to its measurements; each artifact is made when first asked for.

What is made, in which order, from what, and which of it asks the private records, is said by `steps.STEPS`.
"""

import copy
import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

from dpsynth import distributed, preflight, privacy, project, recipes, store
from dpsynth.artifacts import Base, Corpus, Measurement, Samples, Synthesiser
from dpsynth.budget import planning
from dpsynth.budget.certificate import Certificate, certificate
from dpsynth.data import catalog
from dpsynth.data.public_sets import PublicSet
from dpsynth.methods import options_of, row_of
from dpsynth.methods.method import PrivateStep
from dpsynth.params import Params
from dpsynth.privacy.ledger import canonical
from dpsynth.privacy.mechanisms import Mechanism
from dpsynth.recipes import Recipe, Stored
from dpsynth.stages.permit import Permit
from dpsynth.steps import STEP_OF, STEPS, Step, private_steps


class Run:
    """One run: its plan, its ledger, its closed records, and its artifacts, each made or loaded when first asked for.

    Args:
        params: validated against the method's own options.
        private: the private set, closed, where it was opened already; else it is opened when it is first needed.
    Raises:
        ValueError: the method has no such options, or cannot do what is asked of it.
    """

    def __init__(self, params: Params, private: privacy.Private | None = None):
        self.params, self.options, self.row = params, options_of(params), row_of(params)
        self._recipes: dict[str, Recipe | None] = {}
        self._made: dict[str, Stored | None] = {}
        self.machine = ""  # whose artifacts are taken, where those of several stand
        self._checked, self.lacks_private = False, False
        if private is not None:
            if canonical(private.name) != canonical(params.private):
                raise ValueError(f"the parameters name {params.private}, and the records are of {private.name}")
            self.private = private

    def __repr__(self) -> str:
        return f"Run({self.params.run_name})"

    @cached_property
    def private(self) -> privacy.Private:
        """The private set, closed."""
        return self._opened("train")

    @cached_property
    def held_out(self) -> privacy.Private:
        """The records of a benchmark that results are measured on."""
        return self._opened("test")

    @cached_property
    def public(self) -> PublicSet:
        """The public set, opened when it is looked at.

        Raises:
            ValueError: it holds private records, by whatever names or links.
        """
        p = self.params
        catalog.refuse_shared_files(p.private, p.public)
        return catalog.public(p.public, *p.shape, background=p.background)

    @cached_property
    def glyphs(self) -> PublicSet:
        """What the extractor of the metrics is trained on, whatever the public set is."""
        return catalog.public("glyphs", 1, 28)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What works and mechanisms depend on, by name: the method's own options, what its row fixes, and the
        parameters and constants that all share."""
        p = self.params
        constants = {"n_records": p.constants.n_records, "n_classes": p.n_classes, "shape": p.shape}
        return p.model_dump() | constants | self.row.settings | self.options.model_dump()

    @cached_property
    def questions(self) -> list[Mechanism]:
        """What the method asks of the records, in order, the learner's last and not yet calibrated.

        Raises:
            ValueError: more is asked than there is: classes, matrices or budget.
        """
        *before, learner = private_steps(self.row).values()
        learning = self._called(learner.mechanism)
        rule = partial(self._rule, learning)
        return [*(self._called(step.mechanism, rule) for step in before), learning]

    @cached_property
    def plan(self) -> privacy.Plan:
        """Every question with its noise, calibrated together; frozen before the first is asked.

        Raises:
            privacy.BudgetError: the budget does not cover them.
        """
        return planning.plan(self.params, self.questions)

    @cached_property
    def ledger(self) -> privacy.Ledger:
        """The ledger of the private set, outside build/."""
        folder = (project.root() / "ledger").absolute()  # wherever the process goes, it is this project's
        return privacy.Ledger(folder, self.params.private, self.params.noise, self.params.seed)

    @property
    def encoder(self) -> Stored | None:
        """Notebook 01: a network of public images: classifier, autoencoder or VGG-19; None for methods without one."""
        return self.artifact("encoder")

    @property
    def prior(self) -> Stored | None:
        """The noisy counts of the private labels; None where samples have each label equally often."""
        return self.artifact("prior")

    @property
    def release(self) -> Stored | None:
        """Notebook 01: what is asked of the records before the base: the semantic histogram, or central images."""
        return self.artifact("release")

    @property
    def corpus(self) -> Corpus | None:
        """Notebook 02: the images that the base is trained on, and their labels."""
        return self.artifact("corpus")

    @property
    def base(self) -> Base:
        """Notebook 03: a model that has seen no private record."""
        return self.artifact("base")

    @property
    def probe(self) -> Stored | None:
        """What DP-SAPF asks through the base, before it learns."""
        return self.artifact("probe")

    @property
    def synthesiser(self) -> Synthesiser:
        """Notebook 04: the model that learned from the private records."""
        return self.artifact("synthesiser")

    @property
    def samples(self) -> Samples:
        """Notebook 05: synthetic images, with labels."""
        return self.artifact("samples")

    @property
    def certificate(self) -> Certificate:
        """What the run cost, from the ledger's entries for its lineage."""
        return Certificate(certificate(self.plan, self.ledger, self.synthesiser.artifact.lineage))

    @property
    def row_name(self) -> str:
        """As of `Params.row_name`."""
        return self.params.row_name

    @cached_property
    def row_kinds(self) -> dict[str, str]:
        """The kinds of samples by row: the method's own, then its reference rows.

        `floor_public` and `pretrained` where the corpus has the private labels, of private runs; `real`, of benchmarks.
        """
        rows = {self.row_name: "samples"}
        if not self.params.constants.builtin:
            return rows
        if self.corpus is not None and self.corpus.private_labels and self.plan.is_private:
            rows["floor_public"] = "floor"
            if self.base.private_labels:
                rows["pretrained"] = "pretrained"
        return rows | {"real": "real"}

    @cached_property
    def rows(self) -> dict[str, Samples]:
        """Samples by row, as of `row_kinds`."""
        return {row: self.artifact(kind) for row, kind in self.row_kinds.items()}

    @cached_property
    def measurements(self) -> dict[str, Measurement]:
        """Metrics by row, on held-out records; empty for a set of the user's own."""
        return {row: self.measurement(row) for row in self.row_kinds} if self.params.constants.builtin else {}

    def measurement(self, row: str) -> Measurement:
        """Metrics of one row of a benchmark, made or loaded."""
        recipe = self.measurement_recipe(row)
        inputs = {"extractor": self.artifact("extractor"), "samples": self.artifact(self.row_kinds[row])}
        return store.build(replace(recipe, inputs=recipe.inputs | inputs))

    def measurement_recipe(self, row: str) -> Recipe:
        """What measures one row of a benchmark, before it does."""
        recipe = self.recipe("measurement")
        inputs = recipe.inputs | {"samples": self.recipe(self.row_kinds[row])}
        return self.as_it_stands(replace(recipe, inputs=inputs))

    def expected_minutes(self) -> float | None:
        """Minutes that the learner should take, from public data alone; None where there is no estimate."""
        estimate = self.row.learn.estimate_minutes
        return self._called(estimate, self.base, self.questions[-1]) if estimate else None

    def artifact(self, kind: str) -> Any:
        """The artifact of one step, made or loaded; None where the method has none."""
        if kind not in self._made:
            recipe = self.recipe(kind)
            made = recipe and self._build(STEP_OF[kind], recipe)
            self._made[kind] = self._with_images(made) if isinstance(made, Corpus) else made
        return self._made[kind]

    def recipe(self, kind: str) -> Recipe | None:
        """What one step makes, before it is made; None where the method has none. Makes nothing but the plan."""
        if kind not in self._recipes:
            self._recipes[kind] = self._named(STEP_OF[kind])
        return self._recipes[kind]

    def as_it_stands(self, recipe: Recipe) -> Recipe:
        """The recipe; or the same as another kind of machine made it, if only that stands.

        Where both do, all of a run is taken from the machine that has its synthesiser: a run is one chain of work.

        Raises:
            ValueError: as of `Recipe.standing`.
        """
        standing = recipe.standing()
        if len(standing) > 1 and not self.machine:
            self.machine = self._machine_of_all([each.machine for each in standing])
        return next((each for each in standing if each.machine == self.machine), (*standing, recipe)[0])

    def recipes(self) -> dict[str, Recipe]:
        """What the steps before evaluation make, by kind, in order."""
        kinds = [step.kind for step in STEPS if step.stage != "evaluate"]
        return {kind: recipe for kind in kinds if (recipe := self.recipe(kind))}

    def check(self, seen: set | None = None, lacks: list[str] | None = None) -> None:
        """Whatever would end the run after its first private touch, and can be known now, ends it here.

        Touches nothing: of the records it is only told whether they can be opened.

        Args:
            seen: what was checked already, of runs that share it.
            lacks: for what is planned here and run elsewhere: gets a sentence for each set that is missing, and for
                what does not fit in memory, which then end nothing. Without its private set a run is named by nobody.
        Raises:
            ValueError, FileNotFoundError, PermissionError, privacy.BudgetError: one sentence each.
        """
        seen = set() if seen is None else seen
        p, once = self.params, partial(preflight.once, seen)
        with distributed.rank_0_first():
            once("room", preflight.room)
            with preflight.noting(lacks, preflight.TooLarge):
                preflight.memory(p, self.row, self.settings)
            self.lacks_private = not self._opens_private(once, lacks)
        _ = self.questions, self.plan
        if self.lacks_private:
            if self._reads_public:
                self._check_public(once, lacks, trains=True)
            return
        recipes = self.recipes()
        if distributed.rank() == 0:  # which alone has the ledger
            preflight.standing(recipes.values(), self.plan, self.ledger, p.releases, seen)
        unmade = {kind: recipe for kind, recipe in recipes.items() if not recipe.path.exists()}
        if missing := {kind for kind, recipe in unmade.items() if "public" in recipe.inputs}:
            with distributed.rank_0_first():
                self._check_public(once, lacks, trains="encoder" in missing)
        if "corpus" in recipes and "corpus" not in unmade and any("corpus" in r.inputs for r in unmade.values()):
            _ = self.corpus.pixels  # its public set is still there, and what it was
        distributed.barrier()  # rank 0 reads what it will write
        self._checked = True

    def _opens_private(self, once: Callable, lacks: list[str] | None) -> bool:
        """Whether the private set can be opened, with what a benchmark is measured by; if `lacks` takes the reason."""
        p = self.params
        with preflight.noting(lacks, *preflight.missing(p.private)):
            if p.constants.builtin:
                once(("test", p.private), lambda: self.held_out)
                once(("measures", p.inception, p.shape[0]), lambda: preflight.measures(p))
            _ = self.private
            return True
        return False

    def _check_public(self, once: Callable, lacks: list[str] | None, trains: bool) -> None:
        with preflight.noting(lacks, *preflight.missing(self.params.public)):
            once(("public", self.public.identity, trains), lambda: preflight.public(self.public, trains))

    @property
    def _reads_public(self) -> bool:
        works = [getattr(self.row, step.column) for step in STEPS if "public" in step.inputs]
        return any("public" in inspect.signature(work).parameters for work in works if work)

    def _named(self, step: Step) -> Recipe | None:
        if step.only and not step.only(self.params):
            return None
        function = step.work or getattr(self.row, step.column)
        if step.twin and not self.plan.is_private:
            function = function.without_noise
        if function is None:
            return None
        asks = isinstance(function, PrivateStep)
        work = function.release if asks else function
        taken = inspect.signature(work).parameters  # what no method reads is not opened
        inputs = {before: self._before(before) for before in step.inputs if before in taken}
        if step.model:
            inputs["model"] = self.recipe(step.model)
        if step.private:
            inputs["private"] = self.private
        if asks:
            earlier = tuple(recipe for before in step.after if (recipe := self.recipe(before)))
            inputs["permit"] = Permit(self.plan, self.ledger, function.name, earlier)
        kind = step.twin if step.private and not asks else step.kind
        named = recipes.recipe(kind, work, self.settings, lasts=self.params.noise == "secret", **inputs)
        return self.as_it_stands(named)

    def _machine_of_all(self, machines: list[str]) -> str:
        """The first of them that made the synthesiser; the first, if none did."""
        _ = self.plan, self.private  # once for all trials
        for machine in machines:
            trial = copy.copy(self)
            trial.machine, trial._recipes = machine, {}
            if trial.recipe("synthesiser").path.exists():
                return machine
        return machines[0]

    def _with_images(self, corpus: Corpus) -> Corpus:
        """A corpus of rows is stored without the public set that they are of."""
        return corpus if corpus.rows is None else replace(corpus, public=self.public)

    def _before(self, kind: str) -> Any:
        """An input of a step, by name: a set that is opened, or what an earlier step makes."""
        return self.recipe(kind) if kind in STEP_OF else getattr(self, kind)

    def _build(self, step: Step, recipe: Recipe) -> Stored:
        if "permit" in recipe.inputs and not recipe.path.exists() and not self._checked:
            self.check()
        for before in step.after:
            self.artifact(before)
        inputs = dict(recipe.inputs)
        for argument in inputs:
            if (kind := step.model if argument == "model" else argument) in STEP_OF:
                inputs[argument] = self.artifact(kind)
        stored = store.build(replace(recipe, inputs=inputs), timed=self.params.constants.builtin)
        if "permit" in inputs and distributed.rank() == 0:
            self.ledger.settle(stored.artifact.digest)
        return stored

    def _called(self, function: Callable, *arguments: Any) -> Any:
        """A function of settings: with those that it asks for."""
        lists = "n_public_classes" in inspect.signature(function).parameters  # of a folder it is listed for it
        settings = self.settings | ({"n_public_classes": self.public.n_classes} if lists else {})
        return function(*arguments, **recipes.settings_of(function, settings))

    def _rule(self, learner: Mechanism, votes: int) -> float:
        return planning.query_noise(self.params, votes, learner)

    def _opened(self, split: str) -> privacy.Private:
        p = self.params
        declared = {"n_records": p.n_records, "labels": p.labels, "size": p.size, "background": p.background}
        return catalog.private(p.private, split, **declared)
