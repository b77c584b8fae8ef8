"""Coins of the proof: Poisson draws and noise, from a keyed cryptographic stream, addressed rather than consumed.

A draw is named by its address, so that a replay or a resumed run redraws the same coins, and no order of calls matters:
HMAC-SHA256 of the address under the release's key gives a 256-bit key for AES-CTR, whose stream is the draw. Torch's
and numpy's generators are not used: they are not cryptographic, and torch's keeps 32 bits of its seed.
"""

import hashlib
import hmac
import math

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

KEY_BYTES = 32


class Coins:
    """Draws under one 256-bit key.

    Args:
        key: 32 bytes, as secret as the private records (except under `noise: seeded`).
    """

    def __init__(self, key: bytes):
        if len(key) != KEY_BYTES:
            raise ValueError(f"Expected a key of {KEY_BYTES} bytes, got {len(key)}")
        self._key = key

    @property
    def fingerprint(self) -> str:
        """Names the key without telling it."""
        return hashlib.sha256(b"dpsynth fingerprint" + self._key).hexdigest()[:16]

    def seal(self, content: bytes) -> bytes:
        """Binds the key to `content`, and confirms no guess of it to anybody without the key: 32 bytes."""
        return hmac.new(self._key, b"dpsynth seal" + content, hashlib.sha256).digest()

    def words(self, address: tuple, n: int) -> np.ndarray:
        """n uniform 64-bit words at `address` (a tuple of strings and integers): (n,) uint64."""
        key = hmac.new(self._key, repr(address).encode(), hashlib.sha256).digest()
        stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
        return np.frombuffer(bytearray(stream.update(bytes(8 * n))), dtype="<u8")

    def uniforms(self, address: tuple, n: int) -> np.ndarray:
        """n draws from the grid {0, ..., 2^53 - 1} / 2^53: (n,) float64 in [0, 1)."""
        return as_uniforms(self.words(address, n))

    def normals(self, address: tuple, n: int) -> np.ndarray:
        """n standard normals in float64: (n,); |z| reaches 8.5."""
        return as_normals(self.words(address, n + n % 2))[:n]

    def discrete_gaussians(self, address: tuple, n: int, scale: float) -> np.ndarray:
        """n integers from N_Z(0, scale^2), P(z) proportional to exp(-z^2 / 2 scale^2): (n,) int64.

        Canonne, Kamath and Steinke (2020), Definition 1. Drawn by inversion of a table of cumulative weights in
        units of 2^-64 over |z| <= 12 scale + 12: total variation from the exact law is below 1e-14.
        """
        reach = int(12 * scale) + 12
        z = np.arange(-reach, reach + 1)
        weights = np.exp(-((z / np.longdouble(scale)) ** 2) / 2)
        cumulative = np.cumsum(weights) / weights.sum()
        table = np.array([min(int(c), 2**64 - 1) for c in cumulative[:-1] * np.longdouble(2) ** 64], dtype=np.uint64)
        return z[np.searchsorted(table, self.words(address, n), side="right")]


def as_uniforms(words: np.ndarray) -> np.ndarray:
    """Words to the grid {0, ..., 2^53 - 1} / 2^53, elementwise."""
    return (words >> np.uint64(11)) * 2.0**-53


def as_normals(words: np.ndarray) -> np.ndarray:
    """An even number of words in the last axis to as many standard normals, by Box and Muller in float64."""
    u = torch.from_numpy(as_uniforms(words))  # numpy's elementwise functions take several times as long
    first, second = u.chunk(2, dim=-1)
    radius = first.neg().log1p_().mul_(-2.0).sqrt_()  # 1 - u lies in (0, 1]
    angle = second * (2.0 * math.pi)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=-1).numpy()
