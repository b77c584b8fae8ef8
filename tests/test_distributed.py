import pytest
import torch

from dpsynth import device, distributed, store
from dpsynth.models import networks
from dpsynth.params import Params
from dpsynth.recipes import recipe, work
from dpsynth.runner import headless
from dpsynth.stages import evaluate, pretrain


def test_without_torchrun_there_is_one_process_and_nothing_is_sent(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    for name in ("init_process_group", "all_reduce", "broadcast_object_list"):
        monkeypatch.setattr(torch.distributed, name, lambda *given, **more: pytest.fail("something was sent"))
    distributed.begin()
    tensors, value = [torch.ones(2), torch.ones(3)], object()
    assert (distributed.rank(), distributed.world()) == (0, 1)
    assert distributed.sum_of(tensors) is tensors and distributed.from_rank_0(value) is value
    assert list(range(5))[distributed.share()] == list(range(5))
    distributed.barrier()
    distributed.end()


def test_what_rank_0_does_alone_it_does_as_if_there_were_no_other(monkeypatch):
    monkeypatch.setattr(distributed, "_in_all", 4)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 2)
    assert (distributed.rank(), distributed.world()) == (2, 4)
    assert list(range(8))[distributed.share()] == [2, 6]
    with distributed.alone():
        with distributed.alone():
            pass
        assert (distributed.rank(), distributed.world()) == (0, 1)
    assert distributed.world() == 4


def test_a_process_that_is_at_other_work_than_rank_0_is_refused(root, monkeypatch):
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    own = recipe("floor", evaluate.floor, {"n_synthetic": 3, "seed": 0})
    for said in (("0" * 64, ""), (own.identity, "other code")):
        monkeypatch.setattr(distributed, "from_rank_0", lambda value, said=said: said)
        with pytest.raises(ValueError, match=r"is not what rank 0 makes now.*give all processes one checkout"):
            store.build(own)
    assert not list(root.rglob("*.partial"))


@pytest.mark.parametrize("joined", [False, True])
def test_other_processes_take_part_in_joined_work_alone_and_write_nothing(root, monkeypatch, joined):
    did = []

    @work(joined=joined)
    def made(work):
        did.append(work)
        work.save(step=1)

    made.__module__ = "dpsynth.stages.evaluate"  # whose code names it
    monkeypatch.setattr(store, "_made_of", lambda recipe: "code")
    own = recipe("made", made, {})
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    monkeypatch.setattr(distributed, "from_rank_0", lambda value: (own.identity, "code"))
    monkeypatch.setattr(store, "verified", lambda recipe: "as it stands")
    assert store.build(own) == "as it stands"
    assert len(did) == joined and not list(root.rglob("*.*"))


def test_more_processes_than_images_are_refused(monkeypatch):
    monkeypatch.setattr(distributed, "world", lambda: 5)
    model = networks.initial(pretrain.architecture((1, 8), 2, 8, "edm", "middle"), 0)
    with pytest.raises(ValueError, match="pretrain_batch=8 gives 5 processes no 2 images each"):
        pretrain.fit(None, model, None, 0, 3, 8, 1e-3, 0.9)


def test_each_process_has_a_gpu_of_its_own_or_none_is_used(monkeypatch):
    monkeypatch.setattr(device, "on_gpu", lambda: False)
    assert device.own(7) == "gloo"
    chosen = []
    monkeypatch.setattr(device, "on_gpu", lambda: True)
    monkeypatch.setattr(device, "_number", 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert device.own(1) == "cpu:gloo,cuda:nccl" and chosen == [1]
    assert device._place() == torch.device("cuda", 1)
    with pytest.raises(ValueError, match=r"process 2 of this machine has no GPU.*--nproc-per-node 2"):
        device.own(2)


def test_secret_coins_stay_on_one_machine(monkeypatch):
    monkeypatch.setattr(distributed, "_in_all", 4)
    for local, refused in (("4", False), ("2", True)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", local)
        assert distributed.spans_machines() == refused
        headless._refuse_a_network([Params()])  # seeded coins are public
        if refused:
            with pytest.raises(ValueError, match="would cross the network; start all of them on one machine"):
                headless._refuse_a_network([Params(), Params(noise="secret")])
        else:
            headless._refuse_a_network([Params(noise="secret")])
