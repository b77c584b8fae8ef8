"""What ends a command early is one sentence with the path and what to do; a bug keeps its traceback."""

import contextlib
import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from dpsynth import __main__ as command
from dpsynth import device, mistakes, recipes, store
from dpsynth.artifacts import Base
from dpsynth.bench import __main__ as bench
from dpsynth.bench import gpu, samplers
from dpsynth.checkpoints import Work
from dpsynth.runner import lab, reproduce

PROJECT = Path(__file__).parents[1]
ROOT_OF_LINUX = sys.platform.startswith("linux") and os.geteuid() == 0


def said_by(action, capsys):
    """The exit code of `action` and what it said, which must be one line."""
    code = mistakes.ended(action)
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1, said
    return code, said


@contextlib.contextmanager
def mounted(path, *options):
    """A file system of its own at `path`; skips the test where none can be mounted."""
    path.mkdir()
    if not ROOT_OF_LINUX or subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", path]).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def _checkpoint(path):
    with open(path, "wb") as file:
        torch.save({"x": torch.zeros(1 << 18)}, file)


@pytest.mark.parametrize("kilobytes", [16, 64, 400])
@pytest.mark.parametrize("write", [
    lambda path: path.write_bytes(bytes(1 << 20)),
    lambda path: save_file({"x": torch.zeros(1 << 18)}, path),
    _checkpoint,
], ids=["bytes", "safetensors", "torch"])  # fmt: skip
def test_a_full_disk_is_said_with_the_file(tmp_path, capsys, kilobytes, write):
    with mounted(tmp_path / "small", "-o", f"size={kilobytes}k") as disk:

        def action():
            with mistakes.naming(disk / "written"):
                write(disk / "written")

        assert said_by(action, capsys) == (2, f"error: {disk}/written: {mistakes.SYSTEM[errno.ENOSPC]}\n")


def test_a_read_only_disk_is_said_with_the_file(tmp_path, capsys):
    with mounted(tmp_path / "disk", "-o", "ro") as disk:
        code, said = said_by((disk / "build").mkdir, capsys)
    assert code == 2 and f"{disk}/build: it lies on a disk that cannot be written: set DPSYNTH_ROOT" in said


def test_what_lies_in_the_way_is_said_with_its_path(tmp_path, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for action, told in (
        (lambda: (tmp_path / "file").mkdir(), "file: something else lies where this belongs"),
        (lambda: (tmp_path / "file/below").write_text("x"), "file/below: a file lies where a folder belongs"),
        (lambda: tmp_path.write_text("x"), f"{tmp_path}: a folder lies where a file belongs"),
        (lambda: (tmp_path / "loop").read_text(), "loop: its links lead in a circle"),
        (lambda: (tmp_path / "x" / "y").mkdir(), "x/y: no such file or folder"),
        (lambda: (tmp_path / ("a" * 300)).mkdir(), "...: the name is longer than its file system allows"),
    ):
        assert told in said_by(action, capsys)[1]


@pytest.mark.parametrize("name", ["ENOLCK", "EOPNOTSUPP", "EDQUOT", "EACCES", "EPERM", "EMFILE", "EIO", "ESTALE"])
def test_every_error_of_the_system_names_the_file_and_a_way_out(capsys, name):
    def action():
        with mistakes.naming(Path("ledger/set.lock")):
            raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)))

    code, said = said_by(action, capsys)
    assert code == 2 and said.startswith("error: ledger/set.lock: ") and mistakes.SYSTEM[getattr(errno, name)] in said


def test_an_error_that_nobody_foresaw_is_one_sentence_too(capsys):
    def action():
        raise OSError(errno.EDOM, "argument out of domain", "some/file")

    assert "error: some/file: argument out of domain: mend that" in said_by(action, capsys)[1]


def test_a_reader_that_is_gone_is_no_traceback():
    code = "import sys\nfrom dpsynth import mistakes\n" \
        "sys.exit(mistakes.ended(lambda: [print('x' * 999) for _ in range(1000)]))"  # fmt: skip
    piped = ["bash", "-c", f'"{sys.executable}" -c "{code}" | head -1; exit ${{PIPESTATUS[0]}}']
    ran = subprocess.run(piped, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert ran.returncode == 2 and ran.stderr.startswith("error: a file of this run: whoever read the output is gone")
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize("ask", [
    lambda: np.empty(10**15), lambda: torch.empty(10**15), lambda: torch.empty(10**15, 10**5), lambda: bytearray(10**15)
], ids=["numpy", "torch", "sizes", "python"])  # fmt: skip
def test_too_little_memory_says_what_to_make_smaller(capsys, ask):
    def action():
        with mistakes.mistakes():
            ask()

    assert "error: not enough memory" in said_by(action, capsys)[1]


@pytest.mark.parametrize(("fails", "told"), [
    (lambda: json.loads("[" * 100_000), "nested too deeply"),
    (lambda: float(10**400), "too large to compute with"),
    (lambda: int("x\n y"), "invalid literal"),
    (lambda: Path("~nosuchuser/x").expanduser(), "home"),
    (lambda: safe_open("README.md", "pt"), "a safetensors file is not whole"),
], ids=["nested", "large", "value", "home", "safetensors"])  # fmt: skip
def test_what_the_user_can_mend_is_one_sentence(capsys, fails, told):
    def action():
        with mistakes.mistakes():
            fails()

    code, said = said_by(action, capsys)
    assert code == 2 and told in said


@pytest.mark.parametrize(
    "fails",
    [lambda: 1 / 0, lambda: None.x, lambda: {}["x"], lambda: torch.ones(2) @ torch.ones(3)],
)
def test_a_bug_keeps_its_traceback(fails):
    def action():
        with mistakes.mistakes():
            fails()

    with pytest.raises((ZeroDivisionError, AttributeError, KeyError, RuntimeError)):
        mistakes.ended(action)


@recipes.work
def heavy(work: Work, *, megabytes: int) -> Base:
    state = work.resume() or {"x": torch.zeros(megabytes << 18)}
    work.save(**state)
    return Base(state, {}, {}, private_labels=True)


HEAVY = recipes.recipe("base", heavy, {"megabytes": 1})


@pytest.mark.parametrize("kilobytes", [16, 64, 400, 1500])  # the last has room for the checkpoint, not for the artifact
def test_a_full_disk_ends_an_artifact_in_a_sentence_and_with_room_the_same_command_goes_on(
    tmp_path, monkeypatch, capsys, kilobytes
):
    with mounted(tmp_path / "small", "-o", f"size={kilobytes}k") as disk:
        monkeypatch.setenv("DPSYNTH_ROOT", str(disk))

        def action():
            store.build(HEAVY)

        written = "checkpoint.pt" if kilobytes < 1500 else "tensors.safetensors"
        code, said = said_by(action, capsys)
        assert code == 2 and f".partial/{written}: the disk is full: make room; the same command continues" in said
        subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
        assert mistakes.ended(action) == 0
        assert [path.name for path in (disk / "build/artifacts").iterdir() if path.suffix == ".partial"] == []


def test_a_disk_without_locks_is_said_with_the_lock(root, monkeypatch, capsys):
    for number in (errno.ENOLCK, errno.EOPNOTSUPP):

        def refuse(*_, number=number):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", refuse)
        code, said = said_by(lambda: store.build(HEAVY), capsys)
        assert code == 2 and ".lock: its file system has no locks" in said and "set DPSYNTH_ROOT" in said


def test_what_lies_where_artifacts_belong_is_said(root, capsys):
    for way in ("build", "build/artifacts"):
        (root / way).touch()
        said = said_by(lambda: store.build(HEAVY), capsys)[1]
        assert said.startswith(f"error: {root}/build") and "move it away" in said
        (root / way).unlink()
        (root / way).mkdir()
    path = HEAVY.path
    path.with_name(f"{path.name}.lock").mkdir()
    assert ".lock: a folder lies where a file belongs" in said_by(lambda: store.build(HEAVY), capsys)[1]
    path.with_name(f"{path.name}.lock").rmdir()
    path.with_name(f"{path.name}.partial").touch()
    assert ".partial: something else lies where this belongs" in said_by(lambda: store.build(HEAVY), capsys)[1]


@pytest.mark.parametrize(("given", "half"), [("auto", 1024), ("2048", 1024), ("3", 1)])
def test_a_full_gpu_says_which_micro_batch_to_try_in_a_command_and_in_a_cell(monkeypatch, given, half):
    monkeypatch.setattr(device, "on_gpu", lambda: True)
    monkeypatch.setenv("DPSYNTH_MICROBATCH", given)
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nGPU 0 has a total capacity of 8 GiB.")
    said = mistakes.sentence(error)
    assert said.startswith("not enough memory on the GPU (CUDA out of memory. Tried to allocate 9 GiB. GPU 0")
    assert said.endswith(f": set DPSYNTH_MICROBATCH={half}; the same command continues where this one stopped")
    assert mistakes.of_cell("OutOfMemoryError", str(error), "") == said
    monkeypatch.setenv("DPSYNTH_MICROBATCH", "1")
    assert "choose smaller sizes in the parameter file" in mistakes.sentence(error)


NO_GPU = (
    "error: DPSYNTH_DEVICE=cuda, and torch finds no GPU here; install its driver and a CUDA build of torch, or set "
    "DPSYNTH_DEVICE=cpu\n"
)


COMMANDS = {
    "reproduce": lambda: reproduce.main(["--scale", "smoke", "--dry-run"]),
    "run": lambda: command.main(["run", "table", "--scale", "smoke"]),
    "pack": lambda: command.main(["pack", "table", "out.tar", "--scale", "smoke"]),
    "lab": lambda: lab.main(["--no-browser"]),
    "bench": bench.main,
    "bench-gpu": lambda: gpu.main(["--tiny"]),
    "samplers": samplers.main,
}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_gpu_that_is_asked_for_and_absent_is_one_sentence(root, monkeypatch, capsys, name):
    for folder in ("params", "notebooks"):
        (root / folder).symlink_to(PROJECT / folder)
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "argv", [name])
    monkeypatch.setenv("DPSYNTH_DEVICE", "cuda")
    assert (COMMANDS[name](), capsys.readouterr().err) == (2, NO_GPU)
