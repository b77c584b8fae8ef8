"""What a run would need on this machine: memory, counted on shapes; and time, from a few blank rows of its networks.

It tells nothing of any record: no set is opened. On a GPU the rows are as many as it is given at once, and the first
step of a network is compiled, which takes up to a minute.
"""

import functools
import time
from collections.abc import Callable

import torch

from dpsynth import device, trainings
from dpsynth.models import diffusion, networks, training
from dpsynth.models.pixels import scaled
from dpsynth.pipeline import Run
from dpsynth.privacy import Gradients
from dpsynth.stages import dp_sgd

ROWS = 8  # on a core
TIMED = 2  # steps, after a first one


def needs_of(run: Run) -> str:
    """Memory of the largest step and the time of each training of a run, for people."""
    listed = list(trainings.trainings(run.params, run.row, run.settings))
    known = [f"{each.kind} {duration(hours(each))}" for each in listed]
    known += [f"{kind} not estimated" for kind in trainings.others(run.row)]
    if not listed:
        return ", ".join(known)
    largest = max(listed, key=trainings.step_bytes)
    memory = f"{trainings.step_bytes(largest) / 2**30:,.1f} GiB at most, for a step of the {largest.kind}"
    return f"{memory}; {', '.join(known)}; in all {duration(sum(map(hours, listed)))}"


def duration(hours: float) -> str:
    """For people: minutes below two hours, and nothing finer than an estimate can tell."""
    return f"{60 * hours:,.1f} min" if hours < 2 else f"{hours:,.0f} h"


def hours(of: trainings.Training) -> float:
    """Hours that one training should take here."""
    return seconds_a_row(of.network, of.views, of.at_once) * of.rows * of.passes * of.steps / 3600


@functools.cache
def seconds_a_row(network: str, views: int, at_once: int) -> float:
    """Seconds of a row of a step, clipped if it has views; measured once for all runs of a command."""
    with networks.seeded(0):
        net = trainings.network_of(network)
    side_by_side = 1 if device.on_gpu() else torch.get_num_threads()
    together = min(at_once, device.at_once(1)) if device.on_gpu() else max(ROWS, views)
    rows = side_by_side * max(together // max(views, 1), 1)
    step = _clipped(net, rows, views, together) if views else _plain(net, rows, side_by_side)
    step(0)
    device.finish()
    start = time.perf_counter()
    for number in range(TIMED):
        step(number + 1)
    device.finish()
    return (time.perf_counter() - start) / TIMED / (rows * max(views, 1))


def _plain(net: trainings.Network, rows: int, side_by_side: int) -> Callable[[int], None]:
    parameters = [w for w in net.net.parameters() if w.requires_grad]
    images = device.put(torch.zeros(rows // side_by_side, *net.shape, dtype=torch.uint8))
    labels = device.put(torch.zeros(len(images), dtype=torch.int64))

    def loss(number: int) -> torch.Tensor:
        draws = diffusion.PublicDraws(training.generator(0, number), len(images))
        return net.loss(net.net, scaled(images), labels, draws).mean()

    return lambda step: training.assign(parameters, training.gradient(parameters, loss, range(side_by_side))[1])


def _clipped(net: trainings.Network, records: int, views: int, together: int) -> Callable[[int], None]:
    images, labels = torch.zeros(records, *net.shape, dtype=torch.uint8), torch.zeros(records, dtype=torch.int64)
    everyone = Gradients("timing", 1.0, TIMED + 1, 1.0, 1.0, views, 1.0)
    return dp_sgd.rehearsal(net.net, images, labels, 1, everyone, together, net.loss)
