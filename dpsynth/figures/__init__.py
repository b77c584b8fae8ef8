"""Every figure of the notebooks and the README: tensors, arrays and tables in, a matplotlib `Figure` out.

A figure states in its title what it shows and carries its origin, the `badge`, in grey at its foot. It is refused in
one sentence, a ValueError, where there is nothing to draw, values are not finite, or counts disagree. A notebook shows
each where it is drawn. pyplot knows of none, so none need be closed, and
matplotlib's settings stay as they were.
"""

from dpsynth.figures.bench import bench
from dpsynth.figures.embedding import embeddings, tsne
from dpsynth.figures.explorer import costs, trajectory
from dpsynth.figures.images import beside, grid, hero, neighbours, progress, voted
from dpsynth.figures.query import histogram, recall_curve, toy
from dpsynth.figures.results import against, comparison, whole
from dpsynth.figures.sweeps import gaps, sweep
from dpsynth.figures.teaching import composition, densities, subsampling, weighting
from dpsynth.figures.trainable import noise_to_signal, saliency, trainable
from dpsynth.figures.training import budget, losses, matching

__all__ = [
    "against", "bench", "beside", "budget", "comparison", "composition", "costs", "densities", "embeddings", "gaps",
    "grid", "hero", "histogram", "losses", "matching", "neighbours", "noise_to_signal", "progress", "recall_curve",
    "saliency", "subsampling", "sweep", "toy", "trainable", "trajectory", "tsne", "voted", "weighting", "whole",
]  # fmt: skip
