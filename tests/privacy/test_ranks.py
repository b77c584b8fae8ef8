"""A step that several processes share, played by threads: one release, with the sum and the noise of one process."""

import copy
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from dpsynth import distributed, privacy
from dpsynth.models import diffusion
from dpsynth.models.pixels import scaled
from dpsynth.privacy import Charge, Coins, Fakes, Gradients, Plan, Private, engine
from dpsynth.stages.permit import Permit

COINS = Coins(bytes(range(32)))
MAX = torch.distributed.ReduceOp.MAX


class Processes:
    """In the place of `torch.distributed`: a process is a thread, and they meet at a barrier."""

    def __init__(self, world):
        self.world, self._here = world, threading.local()
        self._met, self._sent = threading.Barrier(world, timeout=20), [None] * world

    def each(self, work):
        """What `work(rank)` of each process gives; the error of one is the error of all."""

        def of(rank):
            self._here.rank = rank
            try:
                return work(rank)
            except BaseException:
                self._met.abort()
                raise

        with ThreadPoolExecutor(self.world) as pool:
            ended = [pool.submit(of, rank) for rank in range(self.world)]
        failed = [error for future in ended if (error := future.exception())]
        own = [error for error in failed if not isinstance(error, threading.BrokenBarrierError)]
        if failed:
            raise (own or failed)[0]
        return [future.result() for future in ended]

    def get_rank(self):
        return self._here.rank

    def get_world_size(self):
        return self.world

    def gathered(self, mine):
        self._sent[self.get_rank()] = mine
        self._met.wait()
        everything = list(self._sent)
        self._met.wait()
        return everything

    def all_reduce(self, tensor, op=None):
        stacked = torch.stack(self.gathered(tensor.clone()))
        tensor.copy_(stacked.amax(0) if op == MAX else stacked.sum(0))


@pytest.fixture
def processes(monkeypatch):
    """Makes so many."""
    threads = torch.get_num_threads()

    def made(world):
        theirs = Processes(world)
        for name in ("get_rank", "get_world_size", "all_reduce"):
            monkeypatch.setattr(torch.distributed, name, getattr(theirs, name))
        return theirs

    yield made
    torch.set_num_threads(threads)  # side by side they set it for one another


@pytest.fixture(params=["hooks", "carriers"])
def watch(request):
    """Either engine."""
    return privacy.PerExample if request.param == "hooks" else partial(engine.Carried, compiler=None)


@pytest.fixture
def denoiser():
    torch.manual_seed(0)
    model = diffusion.Denoiser(1, 8, 3, 8)
    model.precision = torch.float32
    for parameter in model.parameters():  # zero-initialised layers would hide their gradients
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


def step(watch, model, joined, n=23, rate=0.7, noise=1e-9, clip=0.2, microbatch=3, coins=COINS, fakes=0, charge=None):
    """The gradients of a step on a copy of `model`, in units of the divisor."""
    watched = watch(copy.deepcopy(model))
    mechanism = Gradients("dp_sgd", rate, 3, noise, clip, 1, 1.0)
    plan = Plan("toy", n, 10.0, 1e-5, (mechanism,))
    charge = charge or Charge(mechanism, plan, "release", coins, joined=joined)
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n + fakes, 1, 8, 8), generator=draws, dtype=torch.uint8)
    labels = torch.arange(n + fakes) % 3
    toy = Private(name="toy", images=images[:n], labels=labels[:n], classes=("a", "b", "c"), n_records=n, builtin=True)

    def loss(x, y, draws):
        return diffusion.loss(watched, "edm", 3, x, y, draws)

    public = Fakes(scaled(images[n:]), labels[n:], loss) if fakes else None
    toy.gradient(watched, loss, charge, 0, microbatch, public)
    return torch.cat([p.grad.double().flatten() for p in watched.parameters])


@pytest.mark.parametrize("world", [2, 3, 20])  # more than there are micro-batches
def test_the_sum_of_all_processes_is_that_of_one(watch, denoiser, processes, world):
    alone = step(watch, denoiser, joined=False)
    assert alone.norm() > 1
    for shared in processes(world).each(lambda rank: step(watch, denoiser, joined=True)):
        torch.testing.assert_close(shared, alone, rtol=0, atol=1e-6)


def test_each_micro_batch_is_one_process_s():
    for world in (1, 2, 3, 7):
        for n in (0, 1, 5, 14):
            parts = [[number] for number in range(n)]
            shares = [engine.Ranks(rank, world).share(parts) for rank in range(world)]
            assert sorted(itertools.chain(*shares)) == parts
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_record_is_looked_at_by_one_process_alone(denoiser, processes, monkeypatch):
    seen, usual = [], privacy.PerExample.clipped

    def clipped(self, losses, records, count, bound):
        seen.append(count)
        return usual(self, losses, records, count, bound)

    monkeypatch.setattr(privacy.PerExample, "clipped", clipped)
    processes(2).each(lambda rank: step(privacy.PerExample, denoiser, joined=True))
    assert sum(seen) == (COINS.uniforms(("poisson", 0), 23) < 0.7).sum()


@pytest.mark.parametrize("rate", [0.7, 1e-9])  # the least draws nobody
def test_all_processes_add_the_noise_that_one_adds_once(watch, denoiser, processes, rate):
    noise_alone = dict(rate=rate, noise=1e6, clip=1e-3)
    alone = step(watch, denoiser, False, **noise_alone)
    assert abs(alone.std().item() / 1e6 - 1) < 0.05
    for shared in processes(3).each(lambda rank: step(watch, denoiser, True, **noise_alone)):
        assert torch.equal(shared, alone)


def test_fakes_are_shared_out_too(watch, denoiser, processes):
    alone, without = (step(watch, denoiser, False, rate=0.1, fakes=fakes) for fakes in (7, 0))
    assert (alone - without).norm() > 0.1
    for shared in processes(2).each(lambda rank: step(watch, denoiser, True, rate=0.1, fakes=7)):
        torch.testing.assert_close(shared, alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("otherwise", [{"microbatch": 4}, {"n": 22}, {"coins": Coins(bytes(32))}, {"noise": 1e-8}])
def test_processes_that_would_count_a_record_twice_are_refused(watch, denoiser, processes, otherwise):
    with pytest.raises(
        ValueError, match=r"do not draw the same records.*DPSYNTH_MICROBATCH; this step released nothing"
    ):
        processes(2).each(lambda rank: step(watch, denoiser, True, **(otherwise if rank else {})))


class Breaking(nn.Module):
    """Its gradient of a black image is not finite."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, x):
        return self.layer(x.flatten(1))[:, 0]


def test_a_record_that_is_not_finite_is_left_out_where_it_is(watch, processes):
    torch.manual_seed(0)
    model, images = Breaking(), torch.randint(1, 256, (9, 1, 2, 2), dtype=torch.uint8).float()
    images[3] = 0
    mechanism = Gradients("dp_sgd", 0.5, 3, 1.0, 1e-3, 1, 5.0)

    def summed(records, joined):
        watched = watch(copy.deepcopy(model))

        def loss(x, labels, draws):
            return watched(x) / x.flatten(1).square().sum(1)

        how = records, mechanism, COINS, 0, 2, engine.sharing(joined)
        return torch.cat([t.flatten() for t in engine.clipped_sum(watched, loss, images, torch.zeros(9).long(), *how)])

    finite = summed([0, 1, 2, 4, 5, 6, 7, 8], joined=False)
    for shared in processes(2).each(lambda rank: summed(list(range(9)), joined=True)):
        torch.testing.assert_close(shared, finite, rtol=0, atol=1e-9)


class Counting:
    """A ledger that says how often it was asked."""

    def __init__(self, charge):
        self.asked, self._charge = 0, charge

    def charge(self, *arguments, **more):
        self.asked += 1
        return self._charge


def test_the_others_get_the_coins_of_rank_0_and_no_process_draws_a_noise_twice(denoiser, processes, monkeypatch):
    theirs = processes(2)
    monkeypatch.setattr(distributed, "rank", theirs.get_rank)
    monkeypatch.setattr(distributed, "world", theirs.get_world_size)
    monkeypatch.setattr(distributed, "from_rank_0", lambda value: copy.deepcopy(theirs.gathered(value)[0]))
    mechanism = Gradients("dp_sgd", 0.7, 3, 1e-9, 0.2, 1, 1.0)
    plan = Plan("toy", 23, 10.0, 1e-5, (mechanism,))
    ledgers = [Counting(Charge(mechanism, plan, "release", COINS)), Counting(None)]

    class Work:
        digest, lineage = "release", ()

    def asked(rank):
        charge = Permit(plan, ledgers[rank], "dp_sgd").charge(Work(), None)
        step(privacy.PerExample, denoiser, True, charge=charge)
        with pytest.raises(ValueError, match="the noise of step 0 was drawn already"):
            step(privacy.PerExample, denoiser, True, charge=charge)
        return charge

    charges = theirs.each(asked)
    assert [ledger.asked for ledger in ledgers] == [1, 0]
    assert all(charge.joined and charge.coins.fingerprint == COINS.fingerprint for charge in charges)
    assert np.array_equal(*(charge.coins.words(("noise", 0), 9) for charge in charges))
