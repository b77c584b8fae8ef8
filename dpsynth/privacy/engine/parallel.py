"""Work on parts of a batch side by side: one thread a part, and the same bits for any number of threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


def side_by_side(work: Callable, parts: Iterable) -> Iterator:
    """`work(part)` of each part, in their order: as many at once as torch has threads, each on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that start now inherit it
    try:
        with ThreadPoolExecutor(threads) as pool:
            pending = deque()
            for part in parts:
                pending.append(pool.submit(work, part))
                if len(pending) > threads:
                    yield pending.popleft().result()
            yield from (future.result() for future in pending)
    finally:
        torch.set_num_threads(threads)


@contextmanager
def begun(work: Callable, parts: Sequence, now: bool) -> Iterator[Callable]:
    """A context that gives what `work(part)` of each part gives, by its number: worked on by other threads from now on,
    while this one keeps a device busy; or, if not `now`, when it is asked for."""
    if not now:
        yield lambda number: work(parts[number])
        return
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        pending = [pool.submit(work, part) for part in parts]
        yield lambda number: pending[number].result()
