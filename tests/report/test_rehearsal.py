"""What is said of a rehearsal's numbers: each rule, on numbers that call for it."""

import pytest

from dpsynth.report import rehearsal
from dpsynth.report.rehearsal import Rehearsed

SETTINGS = {
    "epsilon": 10.0, "width": 24, "pretrain_steps": 1600, "steps": 100, "sample_rate": 0.1, "n_records": 6000,
    "larger": ["laptop_colour", "gpu"],
}  # fmt: skip


def row(accuracy, distance):
    return dict.fromkeys(("CA-LR", "CA-MLP", "CA-CNN"), accuracy) | {
        "FD-effnet": distance, "precision": 0.2, "recall": 0.1,
    }  # fmt: skip


def rehearsed(labelled=True, without=(), recall=None, **changes):
    """A rehearsal where all went well, but for the rows in `changes`: (accuracy, distance); noise is at 100."""
    rows = {
        "private": (80, 20), "nonprivate": (85, 15), "pretrained": (75, 30), "floor_public": (60, 30), "real": (90, 0),
        "noise": (50, 100),
    } | changes  # fmt: skip
    measured = {name: row(*values) for name, values in rows.items() if name not in without}
    measured["private"] |= {} if recall is None else {"recall": recall}
    return Rehearsed(measured, 70.0 if labelled else None, 50.0, 1000, SETTINGS, 0.93)


def told(r):
    return rehearsal.verdict(r), rehearsal.summary(r), " ".join(rehearsal.advice(r))


def test_what_beats_its_floor_and_is_nearer_to_real_images_than_to_noise_works():
    verdict, summary, advice = told(rehearsed())
    assert verdict == "works" and "better than the public ones that the query selects for epsilon 0.93" in summary
    assert "selection alone" not in advice


def test_coloured_noise_fails_and_if_already_the_base_is_noise_the_network_is_too_small():
    verdict, summary, advice = told(
        rehearsed(private=(51, 90), nonprivate=(51, 85), pretrained=(50, 80), floor_public=(52, 40))
    )
    assert verdict == "fails" and "nearer to noise than to real ones" in summary
    assert "Already the pre-training" in advice and "a larger scale (laptop_colour, gpu)" in advice
    assert "pretrain_steps: 6400 and width: 48 (now 1600 and 24)" in advice and "more epsilon (" not in advice


def test_if_the_twin_fails_as_well_more_epsilon_would_not_help():
    verdict, _, advice = told(rehearsed(private=(51, 60), nonprivate=(52, 55)))
    assert verdict == "floor" and "so more epsilon would not help: steps: 400 (now 100)" in advice


def test_if_the_twin_is_good_and_the_private_one_bad_it_is_the_budget():
    verdict, summary, advice = told(rehearsed(private=(51, 40), floor_public=(50, 40)))
    assert verdict == "fails" and summary.endswith("a classifier learns no more of them than guessing.")
    assert "Most is lost to clip and noise (34.0 points of accuracy below its non-private twin)" in advice
    assert "sample_rate: 0.2" in advice and "more epsilon (now 10), more records (now 6,000)" in advice


def test_if_the_floor_is_better_the_selection_alone_is_advised_at_its_price():
    verdict, summary, advice = told(rehearsed(floor_public=(88, 10)))
    assert verdict == "floor" and "does not earn its budget" in summary and "for epsilon 0.93" in summary
    assert advice.startswith("The selection alone costs epsilon 0.93")


def test_what_the_test_set_cannot_tell_from_the_floor_is_a_tie():
    verdict, summary, _ = told(rehearsed(floor_public=(79, 30)))
    assert verdict == "tie" and "cannot be told from the public images that the query selects" in summary


def test_blots_that_are_far_from_noise_fail_by_the_real_images_that_none_resembles():
    assert told(rehearsed(recall=0.001))[:2] == (
        "fails", "Expect nothing of use: hardly a real image has its like among them.",
    )  # fmt: skip


def test_a_base_of_blots_is_named_before_all_else():
    r = rehearsed(recall=0.0)
    r.rows["pretrained"]["recall"] = 0.0
    assert rehearsal.advice(r)[0].startswith("Already the pre-training")


def test_a_floor_that_fails_as_well_is_not_advised():
    verdict, _, advice = told(rehearsed(private=(51, 90), floor_public=(80, 80)))
    assert verdict == "fails" and "selection alone" not in advice


def test_where_real_images_teach_nothing_accuracy_decides_nothing():
    hard = rehearsed(real=(51, 0), private=(51, 20))
    assert rehearsal.verdict(hard) == "works" and rehearsal.verdict(rehearsed(private=(51, 20))) == "floor"
    assert rehearsal.sentences(hard)[0].startswith("Even real images teach classifiers these labels no better")


def test_without_labels_the_distance_decides_and_nothing_is_said_of_accuracy():
    good, bad = rehearsed(labelled=False), rehearsed(labelled=False, private=(0, 70))
    assert rehearsal.verdict(good) == "works" and rehearsal.verdict(bad) == "floor"
    nearer = rehearsed(labelled=False, private=(50, 29), floor_public=(50, 30))
    assert rehearsal.verdict(nearer) == "works"
    said = rehearsal.sentences(good)
    assert len(said) == 2 and "80 % of the way from noise to real ones" in said[0]


@pytest.mark.parametrize("without", [("floor_public",), ("floor_public", "pretrained"), ("nonprivate", "floor_public")])
def test_a_method_without_a_floor_a_base_or_a_twin_is_told_without_them(without):
    verdict, summary, advice = told(rehearsed(without=without))
    assert verdict == "works" and summary == "Expect images of use."
    assert ("no non-private twin" in advice) == ("nonprivate" in without)


def test_the_sentences_have_the_numbers():
    accuracy, sees, distance, among = rehearsal.sentences(rehearsed())
    assert "name 80.0 % of 1,000 real ones rightly (± 2.5), where guessing names 50.0 %" in accuracy
    assert "selected public 60.0, pre-trained alone 75.0, non-private twin 85.0, real 90.0" in accuracy
    assert sees.startswith("Classifiers that know the real images name 70.0 % of the synthetic ones")
    assert "FD-effnet, less is better: synthetic 20.0" in distance
    assert "20 % of the synthetic images lie among the real ones" in among
