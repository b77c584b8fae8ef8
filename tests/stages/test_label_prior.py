"""Labels of samples from the noisy counts of the private ones."""

import pytest
import torch

from dpsynth.artifacts import LabelCounts
from dpsynth.stages import label_prior


@pytest.mark.parametrize(
    ("counts", "expected"), [([3, 1], [8, 2]), ([-5, 0], [5, 5]), ([-1, 4], [0, 10]), ([1, 1, 1], [4, 3, 3])]
)
def test_labels_are_shared_out_by_the_noisy_counts_and_never_by_negative_ones(counts, expected):
    labels = label_prior.proportional(LabelCounts(torch.tensor(counts)), 10)
    assert labels.bincount(minlength=len(counts)).tolist() == expected
