import io
import os
import re
import sys
import tempfile
from pathlib import Path

import pytest

import dpsynth
from dpsynth import mistakes
from dpsynth.runner import kernel


def test_the_kernel_is_this_interpreter_on_two_threads(root, monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", str(root))  # where a kernelspec of that name would be found first
    spec = root / "kernels" / "python3"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text('{"argv": ["other-python"], "display_name": "Other", "language": "python"}')
    used = kernel.Kernel(kernel_name="python3", ip="sockets/kernel")
    assert used.kernel_spec.argv[0] == sys.executable and used.transport == "ipc"
    assert used.kernel_spec.env["OMP_NUM_THREADS"] == "2"
    assert used.kernel_spec.env["DPSYNTH_ROOT"] == os.path.realpath(root)


@pytest.fixture
def tempdir(monkeypatch):
    """Makes a folder whose path has so many bytes the one for temporary files."""
    with tempfile.TemporaryDirectory(dir="/tmp") as short:

        def chosen(length, letter="s"):
            room = length - len(short) - 1
            place = Path(short, letter * (room // len(letter.encode())))
            place.mkdir()
            monkeypatch.setattr(tempfile, "tempdir", str(place))
            return place

        yield chosen


LONGEST = 103 - len("/dpsynth-12345678/kernel-9")


@pytest.mark.parametrize("length", [40, LONGEST, LONGEST + 1, 200])
def test_the_paths_of_sockets_are_never_too_long(root, tempdir, length):
    place = tempdir(length)
    with kernel.sockets() as folder:
        assert len(os.fsencode(f"{folder}/kernel-9")) <= 103
        assert (Path(folder).parent == place) == (length <= LONGEST)
    assert not list(place.iterdir()) and not Path(folder).exists()


def test_the_length_of_a_path_is_counted_in_bytes(root, tempdir):
    place = tempdir(120, "é")
    assert len(str(place)) < LONGEST
    with kernel.sockets() as folder:
        assert Path(folder).parent != place


def test_the_next_folder_is_taken_where_one_is_absent_cannot_be_written_or_is_too_long(root, tempdir, monkeypatch):
    (root / "file").touch()
    long = tempdir(150)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/dev/shm")
    monkeypatch.setattr(kernel, "SHORT", (f"{root}/absent", f"{root}/file", "/proc", str(long), "$XDG_RUNTIME_DIR"))
    with kernel.sockets() as folder:
        assert folder.startswith("/dev/shm/dpsynth-")
    assert not list(long.iterdir())


def test_without_a_short_folder_the_variable_to_set_is_named(root, tempdir, monkeypatch, capsys):
    tempdir(150)
    monkeypatch.setattr(kernel, "SHORT", (f"{root}/absent",))
    assert mistakes.ended(kernel.sockets) == 2
    said = capsys.readouterr().err
    assert (
        said.startswith("error: ")
        and said.endswith("bytes: set TMPDIR to a shorter folder\n")
        and said.count("\n") == 1
    )


def test_progress_shows_lines_and_each_state_of_a_bar_once_and_without_colours():
    out = io.StringIO()
    stream = kernel.Progress(out, "    ")
    for piece in ("hel", "lo\nwor", "ld\n", "\n"):
        stream.write(piece)
    assert out.getvalue() == "    hello\n    world\n"
    out.truncate(0), out.seek(0)
    for percent in (0, 50, 50, 100):
        stream.write(f"\r\x1b[32m{percent}%\x1b[0m   ")
    stream.write("\r100%\n\r100%\n")
    assert out.getvalue() == "    0%\n    50%\n    100%\n"


def test_progress_shows_a_bar_that_stands_still():
    out = io.StringIO()
    kernel.Progress(out, "    ").write("\rstep 0/80")
    assert out.getvalue() == "    step 0/80\n"


def test_no_bar_of_ours_is_drawn_often():
    for path in sorted(Path(dpsynth.__file__).parent.rglob("*.py")):
        for bar in re.findall(r"\btqdm\((.*)\)", path.read_text(encoding="utf-8")):
            assert "mininterval=5" in bar or "{n_fmt}/{total_fmt}" in bar, path  # every 5 seconds, or ten times in all
