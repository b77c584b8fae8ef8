"""`make crash`: kill a real run with SIGKILL at random moments, resume it, and compare with a run that nobody killed.

Rounds alternate between seeded coins, where ledger and weights must equal the undisturbed run's to the byte, and
secret ones, where each release must have been drawn once.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SCRIPT = """
import sys
import dpsynth
import torch
from dpsynth.data import glyphs
from dpsynth.models import training
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.stages import dp_sgd
torch.set_num_threads(1)
training.PATIENCE = 0.0
glyphs.PER_CLASS = 4
Run(Params(method="rpgen", epsilon=1.0, noise=sys.argv[1], steps=16, sample_rate=0.02, width=8, seed=3,
                    pretrain_steps=4, encoder_steps=2)).synthesiser
"""
PATIENCE = 300  # seconds
KILLS_A_ROUND = 5


def start(root: Path, noise: str) -> subprocess.Popen:
    """The run, in a process of its own."""
    env = {**os.environ, "DPSYNTH_ROOT": str(root), "OMP_NUM_THREADS": "1"}
    with open(root / "said.txt", "ab") as said:
        return subprocess.Popen([sys.executable, "-c", SCRIPT, noise], env=env, stdout=said, stderr=said)


def finish(root: Path, noise: str) -> float:
    """Run to the end; seconds it took.

    Raises:
        AssertionError: with what the run said, if it failed.
    """
    began = time.monotonic()
    process = start(root, noise)
    try:
        code = process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        code = "no end"
    assert code == 0, f"{code}: {(root / 'said.txt').read_text()[-2000:]}"
    return time.monotonic() - began


def undisturbed(root: Path) -> tuple[Path, float]:
    """A whole seeded run at `root`, and the seconds it took."""
    root.mkdir(parents=True, exist_ok=True)
    return root, finish(root, "seeded")


def fresh(root: Path, whole: Path) -> Path:
    """An empty root that has the drawn glyphs of `whole`."""
    root.mkdir(parents=True)
    shutil.copytree(whole / "cache", root / "cache")
    return root


def kill_when(root: Path, noise: str, moment: Callable[[], bool]) -> bool:
    """Start or resume the run and kill it at `moment`; whether it was still alive."""
    process = start(root, noise)
    while process.poll() is None and not moment():
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    killed = process.wait() == -signal.SIGKILL
    whole_or_absent(root)
    return killed


def whole_or_absent(root: Path) -> None:
    """No artifact stands half-written."""
    for folder in (root / "build/artifacts").glob("*"):
        if folder.is_dir() and not folder.name.endswith(".partial"):
            json.loads((folder / "meta.json").read_text())
            assert (folder / "tensors.safetensors").exists(), folder


def equal(root: Path, whole: Path) -> None:
    """Ledger, release and weights are those of the run that nobody killed, to the byte."""
    assert ledger(root).read_bytes() == ledger(whole).read_bytes()
    for kind in ("release", "synthesiser"):
        one, other = (tensors(r, kind) for r in (root, whole))
        assert one.read_bytes() == other.read_bytes(), kind


def drawn_once(root: Path, whole: Path) -> None:
    """Secret coins: the same releases as the whole run's, each opened and closed once, every key destroyed."""

    def said(r: Path) -> list:
        entries = [json.loads(line) for line in ledger(r).read_text().splitlines()]
        return [("open" in e, e.get("mechanism")) for e in entries]

    assert said(root) == said(whole)
    entries = [json.loads(line) for line in ledger(root).read_text().splitlines()]
    opened = {e["open"]: e["coins"] for e in entries if "open" in e}
    assert {e["close"]: e["coins"] for e in entries if "close" in e} == opened and len(opened) == 2
    assert not list((root / "ledger/keys").iterdir())


def ledger(root: Path) -> Path:
    """The run's ledger."""
    return root / "ledger/mnist5k.jsonl"


def tensors(root: Path, kind: str) -> Path:
    """The tensors of the one artifact of this kind."""
    (found,) = (root / "build/artifacts").glob(f"{kind}-*/tensors.safetensors")
    return found


def rounds(work: Path, whole: Path, seconds: float, kills: int) -> Iterator[str]:
    """Rounds of random kills until there were `kills`; what each showed."""
    chance, done = random.Random(), 0
    number = 0
    while done < kills:
        noise = ("seeded", "secret")[number % 2]
        root = fresh(work / f"round{number}", whole)
        here = 0
        while here < min(KILLS_A_ROUND, kills - done):
            until = time.monotonic() + chance.uniform(0.2, 1.0) * seconds
            if not kill_when(root, noise, lambda until=until: time.monotonic() > until):
                break  # it ended before the kill: the round is over
            here += 1
        finish(root, noise)
        (equal if noise == "seeded" else drawn_once)(root, whole)
        done, number = done + here, number + 1
        yield f"round {number}, {noise} coins: {here} kills, then as if there had been none ({done} of {kills})"
        shutil.rmtree(root)


def main() -> int:
    """25 kills, unless told otherwise."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=25)
    kills = parser.parse_args().kills
    work = Path(tempfile.mkdtemp(prefix="crash-"))
    try:
        drawn, _ = undisturbed(work / "drawn")  # draws the glyphs, which takes longer than all the rest
        whole, seconds = undisturbed(fresh(work / "undisturbed", drawn))
        print(f"undisturbed: {seconds:.0f} s", flush=True)
        for said in rounds(work, whole, seconds, kills):
            print(said, flush=True)
    except BaseException:
        print(f"kept, to look at: {work}")
        raise
    shutil.rmtree(work)
    print(f"{kills} of {kills} kills survived")
    return 0


if __name__ == "__main__":
    sys.exit(main())
