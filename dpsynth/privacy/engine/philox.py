"""Randomness of a loss on the device, addressed as on the host: Philox 4x32-10 (Salmon et al. 2011), by whole tensors.

Its draws need not be secret (contract, rule 7): they depend on their own record's address alone. A counter is (place in
the draw, record, step, call); the key is one word of the release's coins.
"""

import math

import torch
from torch import Tensor

MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85
ROUNDS = 10
LOW = 0xFFFFFFFF


def philox(counter: tuple[Tensor, ...], key: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Four words of 32 bits for each counter.

    Args:
        counter: four int64 tensors that broadcast, of words below 2^32; key: two of one word.
    Returns:
        Four int64 tensors of the broadcast shape, of words below 2^32.
    """
    a, b, c, d = counter
    first, second = key
    for _ in range(ROUNDS):
        left, right = a * MULTIPLIERS[0], c * MULTIPLIERS[1]  # their 64 bits, as two's complement has them
        a, b, c, d = (right >> 32 & LOW) ^ b ^ first, right & LOW, (left >> 32 & LOW) ^ d ^ second, left & LOW
        first, second = first + WEYL[0] & LOW, second + WEYL[1] & LOW
    return list(torch.broadcast_tensors(a, b, c, d))


class DeviceDraws:
    """As `sums.Draws`, on the device of `records`.

    Args:
        key: (2,) int64, two words of 32 bits; step: () int64; records: (records,) int64, below 2^32; views: rows a
            record.
    """

    def __init__(self, key: Tensor, step: Tensor, records: Tensor, views: int):
        self._key, self._step, self._records, self._views, self._call = key, step, records, views, 0

    def _words(self, n: int) -> list[Tensor]:
        """Four (records, n) int64 tensors of words of 32 bits."""
        self._call += 1
        place = torch.arange(n, device=self._records.device)[None]
        call = torch.full_like(self._step, self._call)
        return philox((place, self._records[:, None], self._step, call), (self._key[0], self._key[1]))

    def normal(self, *shape: int) -> Tensor:
        """Standard normals: (rows, *shape) float32, by Box and Muller; |z| reaches 5.8."""
        size = self._views * math.prod(shape)
        a, b, c, d = map(_uniforms, self._words(-(-size // 4)))
        pairs = []
        for first, second in ((a, b), (c, d)):
            radius, angle = (-2 * torch.log(1 - first)).sqrt(), 2 * math.pi * second  # 1 - u lies in (0, 1]
            pairs += [radius * angle.cos(), radius * angle.sin()]
        return torch.cat(pairs, 1)[:, :size].reshape(-1, *shape)

    def uniform(self) -> Tensor:
        """Uniforms in [0, 1): (rows,) float32."""
        return torch.cat([_uniforms(w) for w in self._words(-(-self._views // 4))], 1)[:, : self._views].flatten()


def _uniforms(words: Tensor) -> Tensor:
    """Words of 32 bits to the grid {0, ..., 2^24 - 1} / 2^24, float32."""
    return (words >> 8).float() * 2.0**-24
