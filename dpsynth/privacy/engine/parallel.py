"""Work on parts of a batch side by side: one thread a part, and the same bits for any number of threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

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
