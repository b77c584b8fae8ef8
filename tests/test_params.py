import math
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from dpsynth import fields
from dpsynth.experiments import load
from dpsynth.params import Params

FILES = sorted(Path(__file__).parents[1].glob("params/*/*.yaml"))
FOLDER = {
    "private": "folder:photos",
    "n_records": 4000,
    "labels": ["cat", "dog"],
    "size": 32,
    "noise": "secret",
}


def write(tmp_path, text, profile="smoke"):
    path = tmp_path / profile / "table.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"reproduces: a test\nover: {{method: [rpgen]}}\n{text}")
    return path


def refusal(tmp_path, text):
    path = write(tmp_path, text)
    with pytest.raises(ValueError) as caught:
        load(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ") and "\n" not in said
    return said.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("stpes: 3", "unknown key 'stpes'"),
        ("steps: 2.5", "steps=2.5"),
        ("steps: 3.0", "steps=3.0"),
        ("steps: true", "steps=True"),
        ("epsilon: true", "epsilon=True"),
        ("epsilon: -1", "epsilon=-1"),
        ("epsilon: .nan", "epsilon=nan"),
        ("epsilon: much", "epsilon='much'"),
        ("delta: 0", "delta=0"),
        ("delta: 1.5", "delta=1.5"),
        ("sample_rate: 1.2", "sample_rate=1.2"),
        ("sample_rate: 0", "sample_rate=0"),
        ("noise_multiplicity: 0", "noise_multiplicity=0"),
        ("learning_rate: .inf", "learning_rate=inf"),
        ("seed: -1", "seed=-1"),
        ("width: 12", "width=12"),
        ("profile: desktop", "profile='desktop'"),
        ("private: cifar11", "cifar11"),
        ("options: {rpgen: {vote: 5}}", "rpgen has no option 'vote'"),
        ("options: {rpgen: {votes: 0}}", "votes=0"),
        ("options: {rpgan: {votes: 5}}", "options for rpgan: no such method; there are rpgen"),
    ],
)
def test_refuses_in_one_sentence_that_names_file_and_key(tmp_path, text, named):
    assert named in refusal(tmp_path, text)


def test_an_unknown_method_is_told_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"table\.yaml: method='gan': .*rpgen, privimage_d, pdp_diffusion, dpdm"):
        load(write(tmp_path, ""), method="gan")


def test_broken_yaml_is_said_with_its_place(tmp_path):
    with pytest.raises(ValueError, match=r"(?s)table\.yaml: .*line 3"):
        load(write(tmp_path, "steps: [1"))


def test_a_delta_of_one_in_n_must_be_asked_for_by_name(tmp_path):
    assert "allow_large_delta" in refusal(tmp_path, "delta: 2.5e-4")
    (p,) = load(write(tmp_path, "delta: 2.5e-4\nallow_large_delta: true")).points()
    assert p.delta == 2.5e-4


@pytest.mark.parametrize("text", ["1e-5", "1.0e-5", "'1e-5'"])
def test_yaml_reads_1e_5_as_a_string_and_we_do_not(tmp_path, text):
    (p,) = load(write(tmp_path, f"delta: {text}")).points()
    assert p.delta == 1e-5 and isinstance(p.delta, float)


@pytest.mark.parametrize("text", [".inf", "inf", "Infinity"])
def test_epsilon_may_be_infinite(tmp_path, text):
    (p,) = load(write(tmp_path, f"epsilon: {text}")).points()
    assert math.isinf(p.epsilon)


def test_options_of_another_method_are_refused():
    with pytest.raises(ValidationError, match="amp_gamma"):
        Params(method="privimage_d", options={"amp_gamma": 0.1})
    assert Params(method="rpgen", options={"amp_gamma": 0.1})["amp_gamma"] == 0.1


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


def test_a_file_expands_to_the_product_of_its_axes_and_what_it_adds(tmp_path):
    path = write(tmp_path, "")
    path.write_text(
        "reproduces: a test\nover: {method: [rpgen, dpdm], epsilon: [1, 10], seed: [0, 1, 2]}\n"
        "also: [{method: rpgen, epsilon: .inf, options: {votes: 2}}]\noptions: {rpgen: {kept: 3}}\nsteps: 7\n"
    )
    points = load(path).points()
    assert [(p.method, p.epsilon, p.seed) for p in points[:4]] == [
        ("rpgen", 1, 0), ("rpgen", 1, 1), ("rpgen", 1, 2), ("rpgen", 10, 0),
    ]  # fmt: skip
    assert len(points) == 13 and len({p.digest for p in points}) == len({p.run_name for p in points}) == 13
    assert {p.steps for p in points} == {7} and {p.profile for p in points} == {"smoke"}
    assert [p.options for p in points if p.method == "dpdm"] == [{}] * 6
    assert points[0].options == {"kept": 3} and points[-1].options == {"kept": 3, "votes": 2}
    (only,) = load(path, method="dpdm", epsilon="5", seed=4).points()
    assert (only.method, only.epsilon, only.seed) == ("dpdm", 5.0, 4)


def test_a_file_may_have_several_products(tmp_path):
    path = write(tmp_path, "")
    path.write_text(
        "reproduces: a test\nover:\n- {method: [rpgen, dpdm], seed: [0, 1]}\n"
        "- {private: [fashion_mnist], method: [dpdm], sample_rate: [0.02]}\n"
    )
    points = load(path).points()
    assert [(p.private, p.method, p.seed, p.sample_rate) for p in points] == [
        ("mnist5k", "rpgen", 0, 0.1), ("mnist5k", "rpgen", 1, 0.1), ("mnist5k", "dpdm", 0, 0.1),
        ("mnist5k", "dpdm", 1, 0.1), ("fashion_mnist", "dpdm", 0, 0.02),
    ]  # fmt: skip
    asked = {name: [p.private for p in load(path, seed=5, method=name).points()] for name in ("rpgen", "dpdm", "dpgan")}
    assert asked == {name: ["mnist5k", "fashion_mnist"] for name in asked} | {"rpgen": ["mnist5k"]}


@pytest.mark.parametrize("text", ["", "- steps: 3", "steps"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    path = tmp_path / "table.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="expected a mapping"):
        load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.yaml"):
        load(tmp_path / "nothing.yaml")


def test_every_parameter_enters_digest_and_run_name():
    changed = {
        "method": "dpdm", "profile": "laptop", "epsilon": 1.0, "delta": 2e-5, "allow_large_delta": True,
        "noise": "secret", "seed": 1, "sample_rate": 0.2, "steps": 6, "noise_multiplicity": 2,
        "learning_rate": 2e-3, "pretrain_steps": 21, "encoder_steps": 31, "extractor_steps": 31,
        "inception": "weights.pth", "width": 24, "n_synthetic": 201,
        "options": {"kept": 4}, "private": "fashion_mnist", "public": "folder:public", "n_records": 4000,
        "labels": list("0123456789"), "size": 28,
    }  # fmt: skip
    assert set(changed) == set(Params.model_fields)
    runs = [Params(), *(Params(**{name: value}) for name, value in changed.items())]
    assert len({p.digest for p in runs}) == len({p.run_name for p in runs}) == len(changed) + 1
    assert Params().digest == Params().digest


def test_a_notebook_reads_its_parameters_from_its_globals():
    p = Params.read({"steps": 9, "delta": "1e-6", "labels": None, "os": object(), "_": 3})
    assert p == Params(steps=9, delta=1e-6)
    assert p.replace(steps=10).steps == 10
    with pytest.raises(ValidationError, match="sample_rate"):
        p.replace(sample_rate=2.0)


def test_settings_are_found_by_name():
    p = Params(options={"votes": 3})
    assert p["votes"] == 3 and p["kept"] == 5 and p["steps"] == p.steps and p["shape"] == (1, 28)
    assert "votes" in p and "n_classes" in p and "votes" not in Params(method="dpdm")


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_committed_files_hold_and_no_number_in_them_is_a_string(path):
    experiment = load(path)
    assert experiment.points() and experiment.reproduces.rstrip().endswith(".")
    assert {p.profile for p in experiment.points()} == {path.parent.name}

    def strings(value):
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            return [s for v in value for s in strings(v)]
        return [value] if isinstance(value, str) else []

    numbers = [s for s in strings(yaml.safe_load(path.read_text())) if isinstance(fields._number(s), float)]
    assert numbers == [], "YAML reads these as strings: write 1.0e-5, not 1e-5"


def test_there_is_a_table_for_each_small_profile():
    assert {path.parent.name for path in FILES if path.stem == "table"} >= {"smoke", "laptop"}


def test_smoke_is_the_default_scale():
    smoke = load(next(path for path in FILES if path.parent.name == "smoke" and path.stem == "table"))
    assert smoke.points()[0] == Params()
