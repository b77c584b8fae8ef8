"""The coins: addressed, keyed, and of the law that the proof assumes."""

import numpy as np
import pytest
from scipy import stats

from dpsynth.privacy import Coins

COINS = Coins(bytes(range(32)))


def test_an_address_always_gives_the_same_draw_and_another_a_different_one():
    again = Coins(bytes(range(32)))
    assert (COINS.words(("noise", 3, 1), 100) == again.words(("noise", 3, 1), 100)).all()
    assert (COINS.words(("noise", 3, 1), 100) == COINS.words(("noise", 3, 1), 200)[:100]).all()
    for other in (("noise", 3, 2), ("noise", 4, 1), ("poisson", 3, 1)):
        assert not (COINS.words(("noise", 3, 1), 100) == COINS.words(other, 100)).any()
    assert not (COINS.words(("noise",), 100) == Coins(bytes(32)).words(("noise",), 100)).any()


def test_the_stream_is_aes_ctr_of_an_hmac():
    import hashlib
    import hmac

    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    key = hmac.new(bytes(range(32)), b"('a', 1)", hashlib.sha256).digest()
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update((1).to_bytes(16, "big"))
    assert COINS.words(("a", 1), 4)[2:].tobytes() == block


def test_uniforms_are_uniform():
    u = COINS.uniforms(("u",), 200_000)
    assert u.min() >= 0 and u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > 1e-3


def test_normals_are_standard_normal_to_the_tails():
    z = COINS.normals(("z",), 400_001)
    assert len(z) == 400_001
    assert stats.kstest(z, "norm").pvalue > 1e-3
    edges = stats.norm.ppf(np.linspace(0, 1, 101)[1:-1])
    observed = np.bincount(np.searchsorted(edges, z), minlength=100)
    assert stats.chisquare(observed).pvalue > 1e-3
    assert len(np.unique(z)) == len(z)
    assert abs(np.corrcoef(z[:200_000], z[-200_000:])[0, 1]) < 0.01


@pytest.mark.parametrize("scale", [0.7, 8.94, 1082.0])
def test_discrete_gaussians_follow_their_mass_function(scale):
    draws = COINS.discrete_gaussians(("d", int(scale)), 100_000, scale)
    reach = int(8 * scale) + 8
    z = np.arange(-reach, reach + 1)
    mass = np.exp(-(z**2) / (2 * scale**2))
    cumulative = np.cumsum(mass / mass.sum())
    cells = np.searchsorted(np.linspace(0, 1, 21)[1:-1], cumulative)  # about equal mass
    expected = np.bincount(cells, mass / mass.sum(), minlength=20) * len(draws)
    observed = np.bincount(cells[draws + reach], minlength=20)
    kept = expected > 5
    assert stats.chisquare(observed[kept], expected[kept] * observed[kept].sum() / expected[kept].sum()).pvalue > 1e-3
    assert draws.dtype == np.int64
    assert draws.std() == pytest.approx(np.sqrt((mass * z**2).sum() / mass.sum()), rel=0.02)


def test_a_short_key_is_refused_and_a_fingerprint_does_not_tell_the_key():
    with pytest.raises(ValueError, match="32 bytes"):
        Coins(b"short")
    assert COINS.fingerprint not in bytes(range(32)).hex()
