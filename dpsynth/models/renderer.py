"""The glyphs' renderer in the place of a trained model: a simulator, as in Lin et al. (2025), Sim-PE."""

import numpy as np
import torch
from torch import Tensor, nn

from dpsynth.data import glyphs, shapes

# What a variation of full amplitude changes a hand by: standard deviations of the glyphs' own.
JITTER = np.array([glyphs.ROTATION, glyphs.SHEAR[1], glyphs.ASPECT, 0.05, 0.5, glyphs.SHIFT, glyphs.SHIFT])


class Renderer(nn.Module):
    """Draws the public glyphs' characters in random faces and hands; its labels are the public classes."""

    def __init__(self, channels: int, size: int):
        super().__init__()
        self.architecture = {"network": "renderer", "channels": channels, "size": size}
        self.n_labels = glyphs.LETTERS + glyphs.SYMBOLS

    def sample(self, labels: Tensor, seed: int) -> Tensor:
        """Images for public `labels`: (N,) -> (N, C, S, S) uint8."""
        return self.random(labels, seed)["images"]

    def random(self, labels: Tensor, seed: int) -> dict[str, Tensor]:
        """`images` of `labels`, and their `faces`, (N,) int64, and `hands`, (N, 7) float64."""
        rng = np.random.default_rng(seed)
        hands = np.array([glyphs.random_hand(rng) for _ in labels])
        return self._drawn(labels, rng.integers(len(glyphs.FACES), size=len(labels)), hands)

    def vary(self, state: dict[str, Tensor], amplitude: float, seed: int) -> dict[str, Tensor]:
        """The same characters: a face changes with probability `amplitude` / 2, a hand by noise."""
        rng = np.random.default_rng(seed)
        faces, hands = state["faces"].numpy(), state["hands"].numpy()
        others = rng.integers(len(glyphs.FACES), size=len(faces))
        changed = np.where(rng.random(len(faces)) < amplitude / 2, others, faces)
        moved = hands + amplitude * JITTER * rng.normal(size=hands.shape)
        moved[:, 3:5] = moved[:, 3:5].clip(*zip(glyphs.ZOOM, glyphs.PEN, strict=True))
        return self._drawn(state["labels"], changed, moved)

    def _drawn(self, labels: Tensor, faces: np.ndarray, hands: np.ndarray) -> dict[str, Tensor]:
        characters, (_, channels, size) = glyphs.characters(), self.architecture.values()
        drawings = [
            glyphs.write(characters[label], face, glyphs.Hand(*hand))
            for label, face, hand in zip(labels.tolist(), faces.tolist(), hands.tolist(), strict=True)
        ]
        images = shapes.in_shape(torch.from_numpy(np.stack(drawings))[:, None], channels, size)
        return {"images": images, "labels": labels, "faces": torch.from_numpy(faces), "hands": torch.from_numpy(hands)}
