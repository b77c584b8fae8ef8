"""The table of methods: every option reaches a function, and every function gets what it depends on."""

import inspect
import itertools
import typing

import pytest

from dpsynth import artifacts
from dpsynth.methods import METHODS
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.recipes import Stored
from dpsynth.steps import STEPS, private_steps

# Values other than the default of options that name no list of choices, and yet change the row.
OTHERS = {"amp_gamma": (0.2, 0.0), "vgg19": (None, "vgg19.pth")}
PUBLIC = {"encoder", "corpus", "base"}  # columns that see public data and earlier releases
NOT_FROM_SETTINGS = {"n_public_classes"}  # read off the public set, where a question asks for it


def choices(model):
    """The values of each option that names them: flags, lists of words, and `OTHERS`."""
    types = {name: field.annotation for name, field in model.model_fields.items()}
    named = {name: (True, False) if of is bool else typing.get_args(of) for name, of in types.items()}
    named = {name: values for name, values in named.items() if values and {*map(type, values)} <= {bool, str}}
    return named | {name: values for name, values in OTHERS.items() if name in types}


def options(method):
    """Options of every combination of choices."""
    named = choices(METHODS[method].options)
    for values in itertools.product(*named.values()):
        yield METHODS[method].options(**dict(zip(named, values, strict=True)))


def variants(method):
    """The rows that a method's options make, each once."""
    rows = []
    for chosen in options(method):
        if (row := METHODS[method].having(chosen)) not in rows:
            rows.append(row)
    return rows


def works(row):
    """The functions of a row that make artifacts, by column."""
    found = {column: getattr(row, column) for column in PUBLIC if getattr(row, column)}
    for column, step in private_steps(row).items():
        found[column] = step.release
        if step.without_noise:
            found[f"{column} without noise"] = step.without_noise
    return found


def functions(row):
    """All functions of a row: its works, what its questions cost, and how long they take."""
    steps = private_steps(row).values()
    others = [function for step in steps for function in (step.mechanism, step.estimate_minutes) if function]
    return [*works(row).values(), *others]


def arguments(function, *kinds):
    return [argument for argument in inspect.signature(function).parameters.values() if argument.kind in kinds]


def settings(function):
    """Names of a function's keyword-only arguments."""
    return {argument.name for argument in arguments(function, inspect.Parameter.KEYWORD_ONLY)}


VARIANTS = {method: variants(method) for method in METHODS}
ROWS = [
    pytest.param(method, row, id=f"{method}-{n}") for method, rows in VARIANTS.items() for n, row in enumerate(rows)
]
OPTIONS = [(method, option) for method, row in METHODS.items() for option in row.options.model_fields]


@pytest.mark.parametrize(("method", "option"), OPTIONS)
def test_every_option_reaches_a_function_or_changes_the_row(method, option):
    asked = set().union(*(settings(function) for row in VARIANTS[method] for function in functions(row)))
    values = choices(METHODS[method].options).get(option, ())
    rows = [METHODS[method].having(METHODS[method].options(**{option: value})) for value in values]
    assert option in asked or any(row != rows[0] for row in rows), f"{option} of {method} does nothing"


@pytest.mark.parametrize(("method", "row"), ROWS)
def test_a_work_has_no_defaults_and_finds_each_setting_in_its_run(method, row):
    run = Run(Params(method=method))
    for function in functions(row):
        named = arguments(function, inspect.Parameter.KEYWORD_ONLY)
        assert all(argument.default is argument.empty for argument in named), function
        assert settings(function) <= run.settings.keys() | NOT_FROM_SETTINGS, function


@pytest.mark.parametrize(("method", "row"), ROWS)
def test_a_works_inputs_are_those_that_its_step_names(method, row):
    named = {(step.column or step.kind): step for step in STEPS}
    for column, function in works(row).items():
        step = named[column.removesuffix(" without noise")]
        given = {"work", *step.inputs, *({"private"} if step.private else ())}
        given |= {"permit"} if step.private and column == step.column else set()
        asked = {argument.name for argument in arguments(function, inspect.Parameter.POSITIONAL_OR_KEYWORD)}
        assert asked <= given and asked >= {"work", *given & {"private", "permit"}}, function
        assert not arguments(function, inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        assert issubclass(inspect.signature(function).return_annotation, Stored) and function.version >= 1


@pytest.mark.parametrize("method", METHODS)
def test_an_option_is_no_parameter_and_what_a_row_fixes_is_neither(method):
    row = METHODS[method]
    assert not row.options.model_fields.keys() & Params.model_fields.keys()
    assert not row.settings.keys() & (row.options.model_fields.keys() | Params.model_fields.keys())
    assert all(field.description for field in row.options.model_fields.values())


@pytest.mark.parametrize(("method", "row"), ROWS)
def test_the_questions_of_a_row_have_names_of_their_own(method, row):
    names = [step.name for step in private_steps(row).values()]
    assert len(set(names)) == len(names) and list(private_steps(row))[-1] == "learn"


@pytest.mark.parametrize(
    ("method", "option", "value", "column", "makes"),
    [
        ("dp_ldm", "latent", True, "encoder", artifacts.Codes),
        ("dp_mepf", "vgg19", "vgg19.pth", "encoder", artifacts.Perceptual),
        ("dp_feta", "warmup", "none", "corpus", None),
        ("dpsda", "api", "glyphs", "corpus", None),
        ("dp_sapf", "choice", "random", "probe", None),
        ("dpdm", "prior", "noisy", "prior", artifacts.LabelCounts),
    ],
)
def test_what_an_option_puts_in_a_column(method, option, value, column, makes):
    usual = METHODS[method]
    row = usual.having(usual.options(**{option: value}))
    work = getattr(getattr(row, column), "release", getattr(row, column))
    assert work is None if makes is None else inspect.signature(work).return_annotation is makes
    assert usual.having(usual.options()) == usual
