"""One run's parameters: what is refused, what names a run."""

import math
import string
import types
import typing

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dpsynth import strict
from dpsynth.methods import METHODS
from dpsynth.params import Params
from dpsynth.pipeline import Run

FOLDER = {
    "private": "folder:photos",
    "n_records": 4000,
    "labels": ["cat", "dog"],
    "size": 32,
    "noise": "secret",
}


def test_options_of_another_method_are_refused():
    with pytest.raises(ValueError, match="privimage_d has no option 'amp_gamma'"):
        Run(Params(method="privimage_d", options={"amp_gamma": 0.1}))
    assert Run(Params(method="rpgen", options={"amp_gamma": 0.1})).options.amp_gamma == 0.1


def test_a_method_that_is_not_in_the_table_is_refused():
    with pytest.raises(ValueError, match="no method 'gan'; the table of methods has rpgen, privimage_d"):
        Run(Params(method="gan"))


def test_parameters_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Params().steps = 7


def test_a_folder_must_be_declared_and_its_coins_secret():
    assert Params(**FOLDER).n_classes == 2 and Params(**FOLDER).shape == (3, 32)
    for name in ("n_records", "labels", "size"):
        with pytest.raises(ValidationError, match=name):
            Params(**{**FOLDER, name: None})
    with pytest.raises(ValidationError, match="noise: secret"):
        Params(**{**FOLDER, "noise": "seeded"})
    with pytest.raises(ValidationError, match="finite epsilon"):
        Params(**{**FOLDER, "epsilon": math.inf})


@pytest.mark.parametrize("public", ["folder:photos", "folder:photos/public", "folder:.", "folder:./x/../photos"])
def test_a_public_folder_is_no_part_of_the_private_one(public):
    with pytest.raises(ValidationError, match="same folder, or one holds the other"):
        Params(**{**FOLDER, "public": public})
    assert Params(**{**FOLDER, "public": "folder:photos_public"}).public == "folder:photos_public"


def test_every_parameter_enters_digest_and_run_name():
    changed = {
        "method": "dpdm", "scale": "laptop", "epsilon": 1.0, "delta": 2e-5, "allow_large_delta": True,
        "noise": "secret", "seed": 1, "sample_rate": 0.2, "steps": 6, "noise_multiplicity": 2,
        "learning_rate": 2e-3, "pretrain_steps": 21, "encoder_steps": 31, "extractor_steps": 31,
        "pretrain_batch": 64, "pretrain_rate": 7e-4, "pretrain_average": 0.99, "encoder_batch": 64,
        "encoder_rate": 2e-4, "encoder_network": "resnet18", "inception": "weights.pth", "width": 24,
        "n_synthetic": 201, "options": {"kept": 4}, "private": "fashion_mnist", "public": "folder:public",
        "n_records": 4000, "labels": list("0123456789"), "size": 28, "background": "black",
    }  # fmt: skip
    assert set(changed) == set(Params.model_fields) - {"releases"}  # leave to ask, which changes nothing that is made
    assert Params(releases=2).digest == Params().digest
    runs = [Params(), *(Params(**{name: value}) for name, value in changed.items())]
    assert len({p.digest for p in runs}) == len({p.run_name for p in runs}) == len(changed) + 1
    assert Params().digest == Params().digest


DEFAULTS = dict(
    method="rpgen", private="mnist5k", public="glyphs", scale="smoke", epsilon=10.0, delta=1e-5,
    allow_large_delta=False, noise="seeded", seed=0, sample_rate=0.1, steps=5, noise_multiplicity=1,
    learning_rate=1e-3, pretrain_steps=20, pretrain_batch=128, pretrain_rate=7e-3, pretrain_average=0.998,
    encoder_steps=30, encoder_batch=128, encoder_rate=2e-3, width=16, extractor_steps=30, inception=None,
    n_synthetic=200, n_records=None, labels=None, size=None, background="white", options={},
)  # fmt: skip
EMPTY = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
OTHER = "36b81f78215b4fc9b74be2c5b0fe736da5ee9ef98131030a7c0d6b7be27e5be7"


def test_a_digest_is_what_it_was_when_results_were_made_with_it():
    other = {"scale": "laptop", "steps": 100, "width": 24, "options": {"average": 0.96, "amp_gamma": 0.05}}
    assert Params().digest == Params(**DEFAULTS).digest == EMPTY
    assert Params(**DEFAULTS | other).digest == OTHER


def test_a_field_that_is_new_changes_no_digest():
    class Later(Params):
        warmth: float = 0.5

    for p in (Params(), Params(seed=3), Params.at("laptop", amp_gamma=0.1), Params(**FOLDER)):
        assert Later(**p.model_dump()).digest == p.digest != Later(**p.model_dump(), warmth=0.6).digest


def test_a_run_at_a_scale_has_its_settings_its_method_s_and_what_is_asked_for():
    p = Params.at("laptop", method="dp_sapf", epsilon=1.0, seed=2, share=0.1)
    assert (p.scale, p.method, p.epsilon, p.seed, p.steps, p.learning_rate) == ("laptop", "dp_sapf", 1.0, 2, 100, 2e-2)
    assert p.options == {"average": 0.96, "share": 0.1, "low_rank": False}
    assert Params.at("laptop").method == "rpgen" and Params.at("laptop", method="rpgen", learning_rate=1.0).steps == 100
    with pytest.raises(ValueError, match="rpgen has no option 'shapes'; its own are votes, kept"):
        Run(Params.at("laptop", shapes=3))
    with pytest.raises(ValueError, match=r"dpdm has no option 'amp_gamma'; its own are .* \(it is one of rpgen\)$"):
        Run(Params.at("laptop", method="dpdm", amp_gamma=0.1))
    with pytest.raises(ValueError, match="no such scale 'desk'; there are gpu, laptop"):
        Params.at("desk")
    with pytest.raises(ValueError, match="options: each is written as a key of its own"):
        Params.at("laptop", options={"votes": 3})


@pytest.mark.parametrize("scale", ["../x", "a/b", "", "A", "x" * 33, "x\n", "."])
def test_a_scale_names_a_folder(scale):
    with pytest.raises(ValidationError, match="scale"):
        Params(scale=scale)


def test_a_changed_run_is_validated_anew():
    p = Params(steps=9, delta="1e-6")
    assert p.replace(steps=10) == Params(steps=10, delta=1e-6)
    with pytest.raises(ValidationError, match="sample_rate"):
        p.replace(sample_rate=2.0)


def test_settings_are_found_by_name():
    p = Params(options={"votes": 3})
    found = Run(p).settings
    assert found["votes"] == 3 and found["kept"] == 5 and found["steps"] == p.steps and found["shape"] == (1, 28)
    assert found["n_classes"] == 10 and "votes" not in Run(Params(method="dpdm")).settings


@pytest.mark.parametrize("label", ["..", ".", "a/b", "../red", "a\nb", "a\0b", "\x1b[31m", "a\u2028b", "\udcff"])
def test_a_label_that_cannot_name_a_folder_is_refused(label):
    with pytest.raises(ValidationError) as caught:
        Params(**{**FOLDER, "labels": ["cat", label]})
    (error,) = caught.value.errors()
    assert error["loc"] == ("labels",) and "cannot name a folder" in error["msg"] and error["msg"].isprintable()


@pytest.mark.parametrize("label", ["café", "ねこ", "two words", "...", "v1.0", "\u200d", "'"])
def test_a_label_may_be_any_other_name(label):
    assert Params(**{**FOLDER, "labels": ["cat", label]}).labels == ("cat", label)


@pytest.mark.parametrize("labels", ["red", [0, 1], {"cat": 0}, [["cat"]], 3])
def test_labels_are_a_list_of_names(labels):
    with pytest.raises(ValidationError, match="expected a list of folder names"):
        Params(**{**FOLDER, "labels": labels})


NUMBERS = (int, float)


def numeric(model):
    """Names of the model's fields that hold a number, whatever stands around it."""

    def kinds(annotation):
        inner = typing.get_args(annotation)
        if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
            return {kind for one in inner for kind in kinds(one)}
        return {annotation}

    return [name for name, field in model.model_fields.items() if kinds(field.annotation) & set(NUMBERS)]


OPTIONS = {row.options for row in METHODS.values()}
FIELDS = [(Params, name) for name in numeric(Params)]
FIELDS += sorted(((model, name) for model in OPTIONS for name in numeric(model)), key=lambda one: (str(one[0]), one[1]))


@pytest.mark.parametrize(("model", "name"), FIELDS, ids=lambda one: getattr(one, "__name__", one))
def test_every_number_has_bounds(model, name):
    beyond = [10**30, -(10**30), -1, 1e300, math.nan, -math.inf, True, "nan", "1e300"]
    for value in [*beyond, *([] if (model, name) == (Params, "epsilon") else [math.inf, "inf"])]:
        with pytest.raises(ValidationError) as caught:
            model.model_validate({name: value})
        (error,) = caught.value.errors()
        assert error["loc"] == (name,) and "\n" not in error["msg"], value


def test_the_walk_finds_the_numbers():
    assert len(FIELDS) > 60
    assert {"epsilon", "delta", "steps", "n_records", "size"} <= set(numeric(Params)) and "labels" not in numeric(
        Params
    )
    assert {"query_noise", "votes", "average", "moments", "threshold"} <= {name for _, name in FIELDS}


@pytest.mark.parametrize(
    ("name", "most"),
    [("steps", 10**6), ("noise_multiplicity", 1024), ("pretrain_steps", 10**8), ("width", 2048),
     ("n_synthetic", 10**7), ("seed", 2**63 - 1), ("epsilon", 1e6)],
)  # fmt: skip
def test_what_a_large_machine_can_do_is_allowed(name, most):
    assert getattr(Params(**{name: most}), name) == most
    with pytest.raises(ValidationError, match=name):
        Params(**{name: most * 2})


def test_a_delta_that_the_accountant_cannot_certify_is_said_to_be_too_fine():
    assert Params(delta=1e-12).delta == 1e-12
    for value in (9e-13, 1e-16, 1e-300):
        with pytest.raises(ValidationError, match="finer than 1e-12, which the accounting cannot certify"):
            Params(delta=value)


def test_names_of_runs_on_built_in_sets_stay_what_they_were():
    assert Params().run_name == f"mnist5k-glyphs-rpgen-eps10-seed0-{Params().digest[:8]}"
    p = Params(private="fashion_mnist", method="dpdm", epsilon=math.inf, seed=3)
    assert p.run_name == f"fashion_mnist-glyphs-dpdm-epsinf-seed3-{p.digest[:8]}"


SAFE = set(string.ascii_letters + string.digits + "_-.")
PATHS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300)


def named(private, public):
    """The run on two folders; they stay apart, whatever they are called."""
    return Params(**{**FOLDER, "private": f"folder:/private/{private}", "public": f"folder:/public/{public}"})


@settings(max_examples=200, deadline=None)
@given(PATHS, PATHS)
@example("a" * 259, "..")
@example("猫" * 80, "../../../../../../etc")
@example("b/" * 2000, "//abs//path//")
@example("C:\\x:y", "trailing. . .")
@example(" ", "-rf")
@example("new\nline\x1b[31m", ".hidden")
def test_a_run_s_name_is_short_safe_and_no_path(private, public):
    try:
        p = named(private, public)
    except ValidationError as error:  # `..` may lead one into the other
        assert "same folder" in str(error)
        return
    for name in (p.run_name, p.replace(epsilon=1e6, seed=2**63 - 1).run_name):
        assert set(name) <= SAFE and len(name.encode()) <= 112
        assert name[0] not in "-."


def test_a_run_s_name_tells_the_folder_s_own_name():
    assert named("icons", "x/emoji").run_name.startswith("icons-emoji-rpgen-eps10-seed0-")
    assert named("猫の写真", "x/..").run_name.startswith("folder-folder-rpgen-")
    assert named("café.v2 (old)/", "a" * 30).run_name.startswith(f"caf_.v2_old-{'a' * 24}-rpgen-")


def test_runs_on_folders_of_one_name_are_told_apart():
    runs = [named(a, b) for a in ("one/set", "two/set", "set", "Set") for b in ("set", "x/set", "猫", "犬")]
    assert len({p.run_name.lower() for p in runs}) == len(runs)


@pytest.mark.parametrize("path", ["~nosuchuser/x", "a\0b", "loop"])
def test_a_path_that_leads_nowhere_is_refused_in_a_sentence(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ValidationError, match="cannot be followed"):
        Params(**{**FOLDER, "private": f"folder:{path}"})


def test_real_numbers_may_be_written_as_text_and_words_may_not():
    assert strict._number("1e-5") == 1e-5 and strict._number("many") == "many"
