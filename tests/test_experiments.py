"""Parameter files: what they expand to, and that every mistake in one is said in one line."""

import copy
import math
import random
import re
import shutil
import time
from pathlib import Path

import pytest
import yaml

from dpsynth import scales, strict
from dpsynth.experiments import find, load, name_of
from dpsynth.methods import METHODS, options_of
from dpsynth.params import Params

PROJECT = Path(__file__).parents[1]
SCALES = PROJECT / "params" / "scales"
ALL = sorted(PROJECT.glob("params/**/*.yaml"))
NAMES = "gpu, laptop, laptop_colour, paper, smoke"
FILES = [path for path in ALL if path.parent != SCALES]


def write(tmp_path, text, scale="smoke"):
    path = tmp_path / "table.yaml"
    path.write_text(f"reproduces: a test\nover: {{method: [rpgen]}}\n{text}\nscale: {scale}\n", encoding="utf-8")
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
        ("profile: smoke", "unknown key 'profile' (value 'smoke')"),
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
        ("private: cifar11", "cifar11"),
        ("methods: {rpgen: {vote: 5}}", "unknown key 'vote' (value 5)"),
        ("methods: {rpgen: {moments: 2}}", "rpgen has no option 'moments'; its own are votes, kept"),
        ("methods: {rpgen: {votes: 0}}", "votes=0"),
        ("methods: {rpgen: {unet: {levels: []}}}", "unet.levels=[]"),
        ("methods: {rpgen: {unet: {levels: [1, 0]}}}", "unet.levels.1=0"),
        ("methods: {rpgen: {unet: {depth: 3}}}", "unknown key 'unet.depth' (value 3)"),
        ("methods: {rpgen: {unet: song}}", "unet='song'"),
        ("methods: {rpgen: {augment: crops}}", "augment='crops'"),
        ("also: [{method: dpgan, gan_network: dcgan}]", "gan_network='dcgan'"),
        ("encoder_network: resnet9", "encoder_network='resnet9'"),
        ("methods: {rpgen: {steps: 0}}", "steps=0"),
        ("methods: {rpgen: {method: dpdm}}", "unknown key 'method' (value 'dpdm')"),
        ("methods: {rpgan: {votes: 5}}", "methods: rpgan: no such method; there are rpgen"),
        ("votes: 5", "unknown key 'votes' (value 5)"),
        ("options: {votes: 5}", "options: each is written as a key of its own"),
        ("also: [{options: {votes: 5}}]", "options: each is written as a key of its own"),
        ("also: [{vote: 5}]", "unknown key 'vote' (value 5)"),
        ("also: [{scale: laptop}]", "unknown key 'scale' (value 'laptop')"),
        ("also: [{method: dpdm, amp_gamma: 0.1}]", "dpdm has no option 'amp_gamma'"),
    ],
)
def test_refuses_in_one_sentence_that_names_file_and_key(tmp_path, text, named):
    assert named in refusal(tmp_path, text)


def test_an_unknown_method_is_told_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"table\.yaml: no method 'gan'; .*rpgen, privimage_d, pdp_diffusion, dpdm"):
        load(write(tmp_path, ""), method="gan")


def test_broken_yaml_is_said_with_its_place(tmp_path):
    with pytest.raises(ValueError, match=r"(?s)table\.yaml: .*line 4"):
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


def test_a_file_expands_to_the_product_of_its_axes_and_what_it_adds(tmp_path):
    path = write(tmp_path, "")
    path.write_text(
        "reproduces: a test\nover: {method: [rpgen, dpdm], epsilon: [1, 10], seed: [0, 1, 2]}\n"
        "also: [{method: rpgen, epsilon: .inf, votes: 2}]\nmethods: {rpgen: {kept: 3}}\nsteps: 7\nscale: smoke\n"
    )
    points = load(path).points()
    assert [(p.method, p.epsilon, p.seed) for p in points[:4]] == [
        ("rpgen", 1, 0), ("rpgen", 1, 1), ("rpgen", 1, 2), ("rpgen", 10, 0),
    ]  # fmt: skip
    assert len(points) == 13 and len({p.digest for p in points}) == len({p.run_name for p in points}) == 13
    assert {p.steps for p in points} == {7} and {p.scale for p in points} == {"smoke"}
    assert [p.options for p in points if p.method == "dpdm"] == [{}] * 6
    assert points[0].options == {"kept": 3} and points[-1].options == {"kept": 3, "votes": 2}
    (only,) = load(path, method="dpdm", epsilon="5", seed=4).points()
    assert (only.method, only.epsilon, only.seed) == ("dpdm", 5.0, 4)


def test_a_file_may_have_several_products(tmp_path):
    path = write(tmp_path, "")
    path.write_text(
        "reproduces: a test\nscale: smoke\nover:\n- {method: [rpgen, dpdm], seed: [0, 1]}\n"
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


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_committed_files_hold_at_each_scale_and_say_what_they_cost(path):
    first, *others = path.read_text(encoding="utf-8").splitlines()
    said = re.fullmatch(r"# make .+ \| (2 cores|one GPU.*?) \| .+ \| expected: results/\w+\.csv", first)
    machine = said[1].lower()
    own = any(line.startswith("private:") for line in others)  # another set than the scale's, of other sizes
    for scale in (None, *(name for name in scales.names() if not (own and name == "laptop_colour"))):
        experiment = load(path, scale)
        (found,) = {p.scale for p in experiment.points()}
        assert found == scale or (scale is None and found.startswith("gpu" if "gpu" in machine else "laptop"))
    assert experiment.reproduces.rstrip().endswith(".")
    assert not [line for line in others if re.match(r"delta|sample_rate|\w*steps|width|n_synthetic", line)]


def test_no_two_committed_files_have_one_name():
    names = {name_of(path) for path in FILES}  # by which results.csv tells their rows apart
    assert len(names) == len(FILES)


@pytest.mark.parametrize("path", ALL, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_number_in_a_committed_file_is_a_string(path):
    def strings(value):
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            return [s for v in value for s in strings(v)]
        return [value] if isinstance(value, str) else []

    numbers = [s for s in strings(yaml.safe_load(path.read_text())) if isinstance(strict._number(s), float)]
    assert numbers == [], "YAML reads these as strings: write 1.0e-5, not 1e-5"


def test_smoke_is_the_default_scale():
    assert Params.at("smoke") == Params()
    stated = yaml.safe_load((SCALES / "smoke.yaml").read_text())
    sizes = [name for name in Params.model_fields if re.search("steps|batch|rate|average|width|multipl|synth", name)]
    assert len(sizes) > 10 and set(sizes) <= set(stated) and "methods" not in stated


def test_the_scale_is_the_files_another_that_is_asked_for_or_the_laptop(tmp_path):
    path = whole(tmp_path, "reproduces: a test\nover: {method: dpdm}\nscale: smoke\n")
    assert [p.steps for scale in (None, "smoke", "laptop") for p in load(path, scale).points()] == [5, 5, 100]
    path = whole(tmp_path, "reproduces: a test\nover: {method: dpdm}\n")
    assert load(path).scale == "laptop" and load(path).points() == [Params.at("laptop", method="dpdm")]


@pytest.mark.parametrize("scale", ["press", "overnight", "3", "[smoke]", "", "../scales/smoke", "smoke.yaml"])
def test_a_scale_without_a_file_is_told_those_with_one(tmp_path, scale):
    with pytest.raises(ValueError, match=rf"table\.yaml: no such scale .*; there are {NAMES}$"):
        load(write(tmp_path, "", scale=scale))
    with pytest.raises(ValueError, match=rf"table\.yaml: no such scale 'desk'; there are {NAMES}$"):
        load(write(tmp_path, ""), "desk")


def test_a_file_stands_over_its_scale_and_a_run_over_both(tmp_path):
    path = whole(
        tmp_path,
        "reproduces: a test\nover: {method: [dp_sapf, dp_ldm], seed: [0]}\nwidth: 32\nlearning_rate: 0.5\n"
        "methods: {dp_ldm: {learning_rate: 0.25, latent: true}, dp_sapf: {average: 0.5}}\n"
        "also: [{method: dp_sapf, share: 0.1, width: 8}]\n",
    )
    sapf, ldm, other = load(path).points()
    assert (sapf.learning_rate, ldm.learning_rate, sapf.width, ldm.steps) == (0.5, 0.25, 32, 100)
    assert sapf.options == {"average": 0.5, "share": 0.7, "low_rank": False}
    assert ldm.options == {"average": 0.96, "latent": True}
    assert other == sapf.replace(width=8, options=sapf.options | {"share": 0.1})


def test_an_option_is_an_axis(tmp_path):
    path = whole(tmp_path, "reproduces: a test\nover: {method: [rpgen], amp_gamma: [0, 0.02, 0.2], seed: [0, 1]}\n")
    experiment = load(path)
    points = experiment.points()
    found = [(options_of(p).amp_gamma, p.seed) for p in points]
    assert found == [(0, 0), (0, 1), (0.02, 0), (0.02, 1), (0.2, 0), (0.2, 1)]
    assert [experiment.variant(p) for p in points[::2]] == ["amp_gamma 0", "", "amp_gamma 0.2"]
    assert points[2] == Params.at("laptop", method="rpgen")
    assert [options_of(p).amp_gamma for p in load(path, epsilon=1.0, seed=3).points()] == [0, 0.02, 0.2]
    (other,) = load(path, method="dpdm", seed=0).points()  # to which no gamma applies
    assert other == Params.at("laptop", method="dpdm")
    said = refused(whole(tmp_path, "reproduces: a test\nover: {method: [rpgen, dpdm], amp_gamma: [0, 0.05]}\n"))
    assert said.startswith("dpdm has no option 'amp_gamma'; its own are ") and said.endswith(" (it is one of rpgen)")


def test_no_option_of_a_method_has_the_name_of_a_parameter():
    options = {name for row in METHODS.values() for name in row.options.model_fields}
    assert len(options) > 40 and not options & {*Params.model_fields, "over", "also", "methods", "reproduces"}


def test_a_run_that_a_file_names_twice_is_one(tmp_path):
    path = whole(tmp_path, "reproduces: a test\nover: {method: dpdm, seed: [0, 1, 0]}\nalso: [{method: dpdm}]\n")
    assert [p.seed for p in load(path).points()] == [0, 1]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with our scales and a few parameter files."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(SCALES, "params/scales")
    for path in ("notebooks/01_semantic_query.py", "params/mine.yaml", "params/a/one.yaml", "params/b/one.yaml"):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text("reproduces: a test\nover: {method: dpdm}\nscale: smoke\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "path"),
    [("mine", "params/mine.yaml"), ("a/one", "params/a/one.yaml"), ("params/b/one", "params/b/one.yaml"),
     ("params/mine.yaml", "params/mine.yaml"), ("elsewhere/x.yaml", "elsewhere/x.yaml")],
)  # fmt: skip
def test_an_experiment_is_found_by_its_name_its_folder_and_name_or_its_path(project, name, path):
    assert find(name) == Path(path)


@pytest.mark.parametrize("name", ["none", "", ".", "..", "scales/smoke", "smoke", "c/one", "../params/mine", "a\0b"])
def test_a_name_that_no_experiment_has_is_told_those_that_there_are(project, name):
    with pytest.raises(ValueError) as caught:
        load(name)
    assert str(caught.value) == f"no experiment {name!r} below params/; there are a/one, b/one, mine"


def test_of_two_experiments_of_one_name_the_path_is_asked_for(project):
    with pytest.raises(ValueError) as caught:
        load("one")
    said = "several experiments are called 'one', name one by its path: params/a/one.yaml, params/b/one.yaml"
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- steps: 3", "expected a mapping of parameters at the top level"),
        ("stpes: 3", "unknown key 'stpes' (value 3)"), ("votes: 3", "unknown key 'votes' (value 3)"),
        ("steps: 0", "steps=0: "), ("steps: 3\nsteps: 4", "line 2: the key 'steps' is written a second time"),
        ("steps: [1", "line "), ("scale: smoke", "scale: a scale is named by its file"),
        ("options: {votes: 3}", "options: each is written as a key of its own"),
        ("methods: [rpgen]", "not the settings of each method; write methods: {rpgen: {votes: 2}}"),
        ("methods:", "not the settings of each method"),
        ("methods: {rpgen: 3}", "the settings of rpgen are no mapping"),
        ("methods: {gan: {votes: 2}}", "methods: gan: no such method; there are rpgen, "),
        ("methods: {rpgen: {vote: 2}}", "unknown key 'vote' (value 2)"),
        ("methods: {dpdm: {votes: 2}}", "dpdm has no option 'votes'; its own are "),
        ("methods: {dpdm: {width: 12}}", "width=12: "), ("methods: {rpgen: {scale: smoke}}", "unknown key 'scale'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_scale_is_said_of_its_file(project, text, said):
    Path("params/scales/desk.yaml").write_text(text)
    with pytest.raises(ValueError) as caught:
        load("mine", "desk")
    line = str(caught.value)
    assert line.startswith(f"params/mine.yaml: params/scales/desk.yaml: {said}") and line.isprintable()
    assert load("mine").points() == [Params(method="dpdm")]


def test_a_scale_of_ones_own_is_a_file(project):
    Path("params/scales/desk.yaml").write_text("steps: 7\nmethods: {rpgen: {votes: 3, steps: 9}}\n")
    assert Params.at("desk", seed=1) == Params(scale="desk", seed=1, steps=9, options={"votes": 3})
    (p,) = load("mine", "desk").points()
    assert p == Params(scale="desk", method="dpdm", steps=7)


def whole(tmp_path, text):
    """A file that is `text`, or those bytes."""
    path = write(tmp_path, "")
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(path):
    """What is said of the file."""
    with pytest.raises(ValueError) as caught:
        load(path)
    return said_of(path, caught.value)


def said_of(path, error):
    """What an error says of the file, which is one line that names it."""
    said = str(error)
    assert said.startswith(f"{path}: ") and said.isprintable() and len(said) < len(str(path)) + 1100
    return said.removeprefix(f"{path}: ")


SHAPES = {"over": "over: {method: [rpgen, dpdm]", "also": "also: [{method: rpgen", "methods": "methods: {rpgen: {votes"}


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("over", "over:"), ("over", "over: [rpgen]"), ("over", "over: rpgen"), ("over", "over: {}"),
        ("over", "over: []"),
        ("over", "over: [{}]"), ("over", "over: [[rpgen]]"), ("over", "over: {method: }"), ("over", "over: 3"),
        ("over", "over: {method: [dpdm], epsilon: []}"), ("over", "over: {method: {rpgen: 1}}"),
        ("over", "over: {first: {method: [rpgen]}}"), ("over", "over: [{method: [rpgen]}, null]"), ("over", "steps: 3"),
        ("also", "over: {method: [dpdm]}\nalso:"),
        ("also", "over: {method: [dpdm]}\nalso: {method: rpgen}"), ("also", "over: {method: [dpdm]}\nalso: [rpgen]"),
        ("methods", "over: {method: [dpdm]}\nmethods: [1]"), ("methods", "over: {method: [dpdm]}\nmethods:"),
        ("methods", "over: {method: [dpdm]}\nmethods: {dpdm: }"),
        ("methods", "over: {method: [dpdm]}\nmethods: {dpdm: 1}"),
    ],
)  # fmt: skip
def test_a_wrong_shape_is_told_the_right_one(tmp_path, key, text):
    said = refused(whole(tmp_path, f"reproduces: a test\n{text}\n"))
    assert said.startswith((f"{key}=", f"{key} is missing")) and SHAPES[key] in said


def test_one_value_stands_for_a_list_of_one(tmp_path):
    path = whole(tmp_path, "reproduces: a test\nover: {method: rpgen, epsilon: 10, seed: [0, 1]}\n")
    assert [(p.method, p.epsilon, p.seed) for p in load(path).points()] == [("rpgen", 10, 0), ("rpgen", 10, 1)]
    assert [p.seed for p in load(path, seed=5).points()] == [5]


@pytest.mark.parametrize(
    "text", ["also: [{method: [rpgen]}]", "also: [{epsilon: [1, 2]}]", "method: [dpdm]\nalso: [{}]"]
)
def test_a_list_where_a_run_has_one_value_is_refused(tmp_path, text):
    assert "=[" in refused(whole(tmp_path, f"reproduces: a test\nover: {{seed: [0]}}\n{text}\n"))


def test_what_a_file_is_for_is_asked_in_one_short_sentence(tmp_path):
    said = refused(whole(tmp_path, "over: {method: [rpgen]}\nmethods: {rpgen: {votes: 2}}\n"))
    assert said == "reproduces is missing; write reproduces: and a sentence on what the runs are for"


@pytest.mark.parametrize(
    ("text", "key", "line", "first"),
    [
        ("size: 16\ndelta: 1.0e-5\nsize: 32", "size", 5, 3),
        ("methods: {rpgen: {votes: 2, votes: 3}}", "votes", 3, 3),
        ("methods:\n  rpgen: {votes: 2}\n  dpdm: {}\n  rpgen: {kept: 2}", "rpgen", 6, 4),
        ("also:\n- method: rpgen\n  seed: 1\n  seed: 2", "seed", 6, 5),
        ("reproduces: another", "reproduces", 3, 1),
        ('steps: 3\n"steps": 3', "steps", 4, 3),
    ],
)
def test_a_key_that_is_written_twice_is_named_with_both_lines(tmp_path, text, key, line, first):
    said = refused(write(tmp_path, text))
    assert said == f"line {line}: the key {key!r} is written a second time (first on line {first})"


BOMB = "x0: &x0 [x, x, x]\n" + "".join(f"x{n + 1}: &x{n + 1} [{', '.join([f'*x{n}'] * 9)}]\n" for n in range(9))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("x: !!python/object/apply:os.system ['exit 1']", "no tags here (tag:yaml.org,2002:python/object"),
        ("x: !!set {a, b}", "no tags here"), ("allow_large_delta: !!bool perhaps", "no tags here"),
        ("x: !own 3", "no tags"),
        ("methods: &a {rpgen: {}}\n<<: *a", "'<<' is no key"), ("1: 2", "'1' is no key"), ("yes: 2", "'yes' is no key"),
        ("~: 2", "'~' is no key"), ("[a]: 2", "'a sequence' is no key"), ("2001-01-01: 3", "unknown key '2001-01-01'"),
        ("x: &x [*x]", "unknown key 'x'"), ("private: &x [*x]", "private=[[[[...]]]]"), (BOMB, "unknown key 'x0'"),
        ("x: *nothing", "line 3: found undefined alias 'nothing'"), ("\tsteps: 3", "line 3: "),
        ("---\nsteps: 3", "line 3: "),
        ("x: " + "[" * 9000, "nested too deeply"), ("x: " + "{a: " * 9000, "nested too deeply"),
        ("x: " + "y" * 100_000, "larger than 100,000 bytes"), ("steps: " + "9" * 5000, "line 3: '9999"),
        ("steps: 0x" + "f" * 5000, "line 3: '0xff"), ("steps: 010", "line 3: '010' is no number"),
        ("x: 0x_", "line 3: '0x_'"),
        ("steps: 1:30", "line 3: '1:30' is no number"), ("seed: 2001-13-41", "seed='2001-13-41'"),
        ('private: "folder:\\ud800"', "line 3: half a character"), ("x: \0", "unacceptable character #x0000"),
    ],
    ids=lambda text: text[:24],
)  # fmt: skip
def test_what_yaml_has_and_a_parameter_file_has_not_is_refused_at_once(tmp_path, text, named):
    began = time.perf_counter()
    assert named in refused(write(tmp_path, text))
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize(
    "axes", ["seed: [0, 1], steps: [1, 2]", "epsilon: 1", "seed: [0, 1, 2, 3], steps: [1, 2, 3, 4]"]
)
def test_a_file_has_no_more_runs_than_anyone_could_want(tmp_path, axes):
    many = f"[{', '.join(map(str, range(1, 600)))}]"
    said = refused(whole(tmp_path, f"reproduces: a test\nover: {{{axes}, width: {many}, n_synthetic: {many}}}\n"))
    assert "runs; a file has at most 1000" in said


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_file_is_utf_8_with_or_without_its_mark(tmp_path, mark):
    text = "reproduces: Fotos für die Katz.\nover: {method: [dpdm]}\r\n"
    assert load(whole(tmp_path, mark + text.encode())).reproduces == "Fotos für die Katz."


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp1252"])
def test_a_file_in_another_encoding_is_told_to_be_saved_as_utf_8(tmp_path, encoding):
    text = "over: {method: [dpdm]}\nreproduces: für die Katz\n"
    said = refused(whole(tmp_path, text.encode(encoding)))
    line = 1 if encoding == "utf-16" else 2
    assert said == f"line {line}: not UTF-8, which parameter files are; save it as UTF-8"


@pytest.mark.parametrize("name", [".", "nothing.yaml", "x" * 300, "a\0b"])
def test_what_is_no_file_is_said_to_be_none(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="no such parameter file"):
        load(tmp_path / name)


ODD = [
    None, True, 0, -1, 10**30, -(10**60), math.nan, math.inf, 1e-320, 2.5, "", "x",
    "folder:", "folder:\0", "folder:../..",
    "folder:~nosuchuser/x", "é", "1e5", "nan", "rpgen", "<<", "1:30", [], [[]], [None], [1, "a"], {}, {"a": 1},
    {"method": ["rpgen"]}, [{"options": "kept"}], {"rpgen": None}, list(range(300)), "z" * 5000,
]  # fmt: skip
BYTES = [
    b"\t",
    b"{",
    b"}",
    b"[",
    b"]",
    b": ",
    b"\n",
    b"- ",
    b"&a ",
    b"*a",
    b"!!x ",
    b"<<: ",
    b"? ",
    b"'",
    b'"',
    b"\xff",
    b"\0",
]
OWN = {
    "reproduces": "a test", "over": {"method": ["rpgen"], "epsilon": [1, 2]}, "private": "folder:/a", "noise": "secret",
    "public": "folder:/b", "n_records": 40, "labels": ["red", "blue"], "size": 16, "delta": 1e-3,
    "also": [{"method": "dpdm"}], "methods": {"rpgen": {"query_noise": 4.0}}, "scale": "smoke",
}  # fmt: skip


def places(node, path=()):
    """The path of each node in a tree of mappings and lists, but the root's."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


def mutated(tree, draws):
    """The file with a node deleted, renamed, wrapped or replaced; or with bytes put in or taken out."""
    tree = copy.deepcopy(tree)
    for _ in range(draws.choice([1, 1, 2, 3])):
        *path, last = draws.choice(list(places(tree)) or [("over",)])
        node = tree
        for step in path:
            node = node[step]
        kind = draws.choice(["delete", "rename", "wrap", "replace", "replace", "replace"])
        old = node.pop(last) if isinstance(node, dict) else node[last]
        if kind == "rename" and isinstance(node, dict):
            node[draws.choice(["method", "options", "epsilon", "also", "methods", "scale", 3, None])] = old
        elif kind != "delete":
            node[last] = [old] if kind == "wrap" else copy.deepcopy(draws.choice(ODD))
    text = bytearray(
        yaml.safe_dump(tree, allow_unicode=True, default_flow_style=draws.choice([True, False, None])), "utf-8"
    )
    for _ in range(draws.choice([0, 0, 1, 2])):
        at = draws.randrange(len(text))
        text[at : at + draws.choice([0, 1, 9])] = draws.choice(BYTES)
    return bytes(text)


def test_a_file_that_was_mutilated_loads_or_is_refused_in_one_line(tmp_path):
    draws = random.Random(0)
    trees = [OWN, *(yaml.safe_load(path.read_text(encoding="utf-8")) for path in FILES)]
    refusals = set()
    for _ in range(200):
        path = whole(tmp_path, mutated(draws.choice(trees), draws))
        try:
            assert load(path).points()
        except ValueError as error:
            refusals.add(said_of(path, error))
    assert len(refusals) > 80
