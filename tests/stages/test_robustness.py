"""The loss over moves of the weights: of which length, which way, and that nothing is left moved."""

from types import SimpleNamespace

import pytest
import torch

from dpsynth import privacy
from dpsynth.artifacts import Base, Corpus, Synthesiser
from dpsynth.models import networks
from dpsynth.stages import robustness

ARCHITECTURE = dict(
    network="denoiser", channels=1, size=8, n_labels=2, width=8, prediction="edm", attention="middle", unet=None
)
IMAGES = torch.randint(0, 256, (12, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
LABELS = torch.arange(12) % 2


@pytest.fixture(scope="module")
def curves():
    weights = {name: w.clone() for name, w in networks.initial(ARCHITECTURE, 0).state_dict().items()}
    base = Base(weights, weights, ARCHITECTURE, private_labels=True)
    corpus = Corpus(IMAGES, LABELS, 2, True, [[0], [1]], "toy")
    held_out = SimpleNamespace(name="toy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(privacy, "evaluation", lambda private, reason: (IMAGES.flip(3), LABELS))
        made = robustness.robustness(None, corpus, base, Synthesiser(weights, ARCHITECTURE), held_out, seed=0)
    return made.curves


def test_each_model_set_and_move_has_a_curve_over_its_norms(curves):
    assert len(curves) == 16
    for name, values in curves.items():
        norms = robustness.GAUSSIAN if name.endswith("gaussian") else robustness.ADVERSARIAL
        assert values[:, 0].tolist() == list(norms) and values.isfinite().all()


def test_a_rise_is_the_loss_less_that_of_the_weights_as_they_are(curves):
    for name, loss in curves.items():
        if name.startswith("loss"):
            rise = curves[name.replace("loss", "rise")]
            assert rise[0, 1] == 0 and torch.allclose(rise[:, 1], loss[:, 1] - loss[0, 1])
    unmoved = {
        curves[f"loss-{m}-public-{w}"][0, 1].item()
        for m in ("base", "synthesiser")
        for w in ("gaussian", "adversarial")
    }
    assert len(unmoved) == 1  # the same weights, images and noise; what moved them was put back


def test_a_small_step_up_the_gradient_raises_the_loss_more_than_a_random_one(curves):
    uphill = curves["rise-base-private-adversarial"]
    assert uphill[1, 1] > 0 and (uphill[1:4, 1].diff() > 0).all()
    slope = {move: curves[f"rise-base-private-{move}"][1].tolist() for move in ("gaussian", "adversarial")}
    assert slope["adversarial"][1] / slope["adversarial"][0] > slope["gaussian"][1] / slope["gaussian"][0]


def test_a_move_has_the_length_that_it_says():
    weights = [torch.zeros(3), torch.zeros(2, 2)]
    direction = [torch.ones(3), torch.ones(2, 2)]
    seen = []

    def loss():
        seen.append(torch.cat([w.flatten() for w in weights]).norm().item())
        return torch.zeros(())

    robustness._at(weights, direction, 4.0, loss)
    assert seen == [pytest.approx(4.0)] and not any(w.any() for w in weights)


def test_a_base_of_public_labels_is_refused():
    base = Base({}, {}, ARCHITECTURE, private_labels=False)
    with pytest.raises(ValueError, match="denoisers whose base speaks the private labels"):
        robustness.robustness(None, None, base, None, None, seed=0)
