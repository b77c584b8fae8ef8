"""What is measured beside quality: of benchmarks alone, whoever asks, and before anything is asked of the records."""

from types import SimpleNamespace

import pytest

from dpsynth.report import measures


@pytest.mark.parametrize("measure", [*measures.MEASURES, "answers"])
def test_a_users_own_set_is_refused_by_every_measure_before_it_is_opened(measure):
    params = SimpleNamespace(constants=SimpleNamespace(builtin=False), private="folder:photos")
    run = SimpleNamespace(params=params)  # which has nothing else to look at
    with pytest.raises(
        ValueError, match=f"{measure} is measured of benchmarks, and folder:photos is a set of your own"
    ):
        measures.answers(run) if measure == "answers" else measures.of(run, measure)
