"""Public randomness: one seed a run, and a seed of its own for whatever is drawn."""

import hashlib


def seed_of(seed: int, *names: str) -> int:
    """A seed for public randomness, named after what it is for; 32 bits, as torch's CPU generator keeps no more."""
    return int.from_bytes(hashlib.sha256(repr((seed, *names)).encode()).digest()[:4], "big")
