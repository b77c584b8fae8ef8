"""Public batches made ahead: the same as those made when they are asked for."""

import threading

import pytest
import torch

from dpsynth.models.ahead import DEPTH, Ahead, Batch, Joined, Kept
from dpsynth.models.diffusion import PublicDraws


def draws(seed, rows=3):
    return PublicDraws(torch.Generator().manual_seed(seed), rows)


def asked(of):
    return of.normal(2, 2), of.uniform(), of.normal()


def test_kept_draws_are_told_again():
    kept = Kept(draws(0))
    first = asked(kept)
    for again in (asked(kept.again()), asked(draws(0))):
        assert all(map(torch.equal, first, again))
    assert kept.asked == [("normal", (2, 2)), ("uniform", ()), ("normal", ())]


def test_joined_draws_are_those_of_each():
    both = asked(Joined([draws(1), draws(2, rows=5)]))
    for place, one in ((slice(0, 3), asked(draws(1))), (slice(3, 8), asked(draws(2, rows=5)))):
        assert all(torch.equal(b[place], o) for b, o in zip(both, one, strict=True))


@pytest.mark.parametrize("on_gpu", [False, True])
def test_batches_are_the_same_whoever_makes_them_and_when(monkeypatch, on_gpu):
    makers = {}

    def make(number):
        makers.setdefault(number, []).append(threading.current_thread())
        return Batch(torch.full((3,), number), torch.zeros(3), Kept(draws(number)))

    monkeypatch.setattr("dpsynth.device.on_gpu", lambda: on_gpu)
    batches = Ahead(make, lambda batch: [batch.draws], 20)
    monkeypatch.undo()  # what is drawn lies here
    for number in range(3, 20):  # a run that goes on where it stopped
        batch = batches(number)
        assert batch.images.tolist() == [number] * 3
        assert all(map(torch.equal, asked(batch.draws), asked(draws(number))))
    assert sorted(makers) == list(range(3, 20)) and all(len(of_one) == 1 for of_one in makers.values())
    others = [number for number, (thread,) in makers.items() if thread is not threading.main_thread()]
    assert len(others) == (16 if on_gpu else 0) and DEPTH > 1


def test_what_goes_wrong_ahead_is_said_when_its_batch_is_asked_for(monkeypatch):
    def make(number):
        if number == 2:
            raise ValueError("batch 2")
        return Batch(torch.zeros(3), torch.zeros(3), Kept(draws(number)))

    monkeypatch.setattr("dpsynth.device.on_gpu", lambda: True)
    batches = Ahead(make, lambda batch: [batch.draws], 20)
    batches(0), batches(1)
    with pytest.raises(ValueError, match="batch 2"):
        batches(2)
