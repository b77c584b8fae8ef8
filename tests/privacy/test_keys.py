"""Keys of coins: where their bytes are from, when they are on the disk, what names them; and each draw is counted."""

import hashlib
import os
import secrets

import pytest
import worlds

from dpsynth import scales
from dpsynth.budget.certificate import certificate, certificate_of_set
from dpsynth.data import catalog
from dpsynth.privacy import Coins, Counts, Ledger, Plan, accounting
from dpsynth.privacy.mechanisms import statement

DELTA = 1e-5


def plan(noise=6.0, epsilon=30.0):
    return Plan("mnist5k", 4000, epsilon, DELTA, (Counts("query", 5, noise),))


def test_a_key_is_32_bytes_of_the_operating_system_and_on_the_disk_before_the_ledger_names_it(tmp_path, monkeypatch):
    drawn, synced = [], []
    token_bytes, fsync = secrets.token_bytes, os.fsync

    def given(n=None):
        drawn.append(token_bytes(n))
        return drawn[-1]

    monkeypatch.setattr(secrets, "token_bytes", given)
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_ino) or fsync(file))
    ledger = Ledger(tmp_path, "mnist5k", "secret", 0)
    charges = [ledger.charge(plan(), "query", release, []) for release in ("r1", "r2")]
    keys = [tmp_path / "keys" / f"{release}.key" for release in ("r1", "r2")]
    assert [key.read_bytes()[:32] for key in keys] == drawn and {len(key) for key in drawn} == {32}
    assert len(set(drawn)) == 2
    for key, charge in zip(keys, charges, strict=True):
        assert charge.coins.fingerprint == Coins(key.read_bytes()[:32]).fingerprint
    file, folder, entry = (path.stat().st_ino for path in (keys[0], keys[0].parent, ledger.path))
    assert synced.index(file) < synced.index(folder) < synced.index(entry)


@pytest.mark.parametrize("noise", [6.0, 25.0])
def test_a_charge_is_under_the_mechanism_and_the_coins_that_its_entry_states(tmp_path, noise):
    ledger = Ledger(tmp_path, "mnist5k", "secret", 0)
    for charge in (ledger.charge(plan(noise), "query", "r1", []) for _ in range(2)):  # the second resumes
        (entry,) = ledger.entries()
        assert entry["mechanism"] == statement(charge.mechanism) and entry["coins"] == charge.coins.fingerprint
        assert charge.mechanism.noise_multiplier == noise and charge.plan == plan(noise)


def test_a_fingerprint_names_a_key_and_does_not_tell_it():
    key = secrets.token_bytes(32)
    said = Coins(key).fingerprint
    assert len(said) <= 16  # 64 bits of the 256
    assert said not in key.hex() and said not in key[::-1].hex()
    for name in hashlib.algorithms_guaranteed:
        if not name.startswith("shake"):
            for known in (key, key.hex().encode()):
                assert said not in hashlib.new(name, known).hexdigest(), f"{name} of the key, of no domain of its own"
    others = [key[:place] + bytes([key[place] ^ 1]) + key[place + 1 :] for place in range(32)]
    assert len({said, *(Coins(other).fingerprint for other in others)}) == 33
    assert bytes.fromhex(said) not in Coins(key).words(("noise", 0), 64).tobytes()


@pytest.mark.parametrize("noises", [(6.0, 6.0), (6.0, 3.0), (3.0, 6.0)])
def test_of_two_draws_of_one_release_both_are_counted(tmp_path, noises):
    ledger = Ledger(tmp_path, "mnist5k", "secret", 0)
    for noise in noises:
        ledger.charge(plan(noise), "query", "r1", [])
        ledger.settle("r1")
    both = accounting.epsilon([Counts("query", 5, noise) for noise in noises], DELTA)
    for said in (certificate(plan(noises[-1]), ledger, ("r1",)), certificate_of_set(ledger, DELTA)):
        assert len(said["releases"]) == 2 and said["epsilon"] == pytest.approx(both)
    assert ledger.epsilon(DELTA, ["r1"]) == pytest.approx(both)


@pytest.mark.parametrize("scale", scales.names())
def test_seeded_coins_are_refused_for_a_users_own_records_at_every_scale(scale):
    for seed in (0, 7):
        with pytest.raises(ValueError, match="seeded"):
            worlds.parameters("dpdm", {}, noise="seeded", scale=scale, seed=seed)


@pytest.mark.parametrize("spelling", ["link", "link/../link", "outer/link", "./link/"])
def test_a_link_to_a_folder_has_the_folders_own_ledger(tmp_path, monkeypatch, spelling):
    (tmp_path / "records").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "records")
    (tmp_path / "outer").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    one, other = (
        Ledger(tmp_path / "ledger", f"folder:{path}", "secret", 0) for path in (tmp_path / "records", spelling)
    )
    assert one.path == other.path


@pytest.mark.parametrize("there", [3, 7, 11])
def test_a_folder_of_another_size_is_refused_without_saying_how_many_records_it_has(tmp_path, there):
    from PIL import Image

    for label in worlds.CLASSES:
        (tmp_path / label).mkdir()
        for number in range(there):
            Image.new("RGB", (16, 16), (number, 0, 0)).save(tmp_path / label / f"{number:02d}.png")
    with pytest.raises(ValueError) as refused:
        catalog.private(f"folder:{tmp_path}", n_records=24, labels=worlds.CLASSES, size=worlds.SIZE)
    said = str(refused.value).replace(str(tmp_path), "")
    assert not {str(there), str(2 * there)} & set("".join(c if c.isdigit() else " " for c in said).split())
