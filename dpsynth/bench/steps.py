"""The steps that `make bench` times, each on the same images and the same batch, and ending with Adam.

Opacus has no rule for our fused norm, and gets the same network with library layers. The library's U-Net, of
`diffusers`, is another network: it is compared by multiply-adds.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPTensorFastGradientClipping
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dpsynth.bench.library_layers import plain
from dpsynth.models import diffusion, training
from dpsynth.models.pixels import scaled
from dpsynth.privacy import Gradients
from dpsynth.stages import dp_sgd

THREADS, CLASSES = 2, 10
F32, BF16 = torch.float32, torch.bfloat16


class Setting(NamedTuple):
    """Images of (channels, size, size), `batch` of them, each seen `views` times; `width` sets the network's size.

    `rows` are of a micro-batch, one thread's work.
    """

    width: int = 80
    channels: int = 3
    size: int = 32
    batch: int = 64
    views: int = 1
    rows: int = 32


FULL = Setting()
LAPTOP = Setting(width=24, channels=1, size=28, batch=256, views=4, rows=dp_sgd.MICROBATCH)  # an older `make reproduce`
SWEEPS = [
    Setting(width=32), Setting(width=144), Setting(channels=1, size=28), Setting(size=64),
    *(Setting(batch=n) for n in (256, 2048, 16_384)),
]  # fmt: skip


class Bench:
    """Steps of one setting, each under its name: functions without arguments."""

    def __init__(self, setting: Setting):
        self.at, draws = setting, torch.Generator().manual_seed(0)
        shape = (setting.batch, setting.channels, setting.size, setting.size)
        self.images = torch.randint(0, 256, shape, generator=draws, dtype=torch.uint8)
        self.labels = torch.randint(CLASSES, (setting.batch,), generator=draws)
        self.everyone = torch.arange(setting.batch)

    def network(self, precision: torch.dtype) -> diffusion.Denoiser:
        """A denoiser without zeroed layers, which would be quicker than life."""
        torch.manual_seed(0)
        model = diffusion.Denoiser(self.at.channels, self.at.size, CLASSES, self.at.width)
        for parameter in model.parameters():
            parameter.data += 0.02 * torch.randn_like(parameter)
        model.precision = precision
        return model.to(memory_format=torch.channels_last)

    def plain(self, precision: torch.dtype) -> nn.Module:
        """The same with layers of the library, as Opacus has rules for."""
        return plain(self.network(precision))

    def library(self) -> nn.Module:
        """The U-Net of `diffusers` with 1.17M weights, attention at its two lower levels, as a denoiser of ours.

        Raises:
            ImportError: `diffusers` is not installed; it is an extra, `peers`.
        """
        from diffusers import UNet2DModel

        torch.manual_seed(0)
        with_attention = ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D")
        net = UNet2DModel(
            sample_size=self.at.size, in_channels=self.at.channels, out_channels=self.at.channels, layers_per_block=1,
            block_out_channels=(32, 64, 64), down_block_types=with_attention,
            up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"), norm_num_groups=8,
            num_class_embeds=CLASSES + 1,
        )  # fmt: skip
        model = self.network(BF16)
        model.net = _Sampled(net)
        return model.to(memory_format=torch.channels_last)

    def multiply_adds(self, model: nn.Module) -> int:
        """Of the forward for one image."""
        image, one = torch.randn(1, self.at.channels, self.at.size, self.at.size), torch.ones(1)
        with FlopCounterMode(display=False) as counted, torch.no_grad():
            model(image, one, one.long())
        return counted.get_total_flops() // 2

    def losses(self, model: Callable, rows: torch.Tensor) -> torch.Tensor:
        """Public draws on records `rows`, each `views` times: (views * rows,)."""
        rows = rows.repeat_interleave(self.at.views)
        draws = diffusion.PublicDraws(torch.Generator().manual_seed(int(rows[0])), len(rows))
        return diffusion.loss(model, "edm", CLASSES, scaled(self.images[rows]), self.labels[rows], draws)

    def ordinary(self, model: nn.Module, *, parts: bool) -> Callable[[], None]:
        """Without privacy: the batch at once on all threads, or in parts of `rows` side by side, as our stages do."""
        parameters, optimizer = list(model.parameters()), torch.optim.Adam(model.parameters())
        split = torch.arange(self.at.batch).split(max(1, self.at.rows // self.at.views) if parts else self.at.batch)

        def step() -> None:
            def loss(rows: torch.Tensor) -> torch.Tensor:
                return self.losses(model, rows).sum() / (self.at.batch * self.at.views)

            if parts:
                _, gradients = training.gradient(parameters, loss, split)
            else:
                gradients = torch.autograd.grad(loss(split[0]), parameters)
            training.assign(parameters, gradients)
            optimizer.step()

        return step

    def ours(self, precision: torch.dtype) -> Callable[[], None]:
        """The step of stage 04: Poisson draw at rate 1, clip, noise, Adam."""
        model = self.network(precision)
        optimizer, steps = torch.optim.Adam(model.parameters()), iter(range(10**6))
        mechanism = Gradients("bench", 1.0, 10**6, 1.0, 1.0, self.at.views, float(self.at.batch))
        step_gradient = dp_sgd.rehearsal(model, self.images, self.labels, CLASSES, mechanism, self.at.rows)

        def step() -> None:
            step_gradient(next(steps))
            optimizer.step()

        return step

    def opacus(self, precision: torch.dtype, **how: bool) -> Callable[[], None]:
        """Per-record gradients by Opacus; views are averaged before its clip, which it does not do by itself."""
        module = GradSampleModule(self.plain(precision), loss_reduction="sum", **how)
        optimizer = DPOptimizer(torch.optim.Adam(module.parameters()), **self._noise())

        def step() -> None:
            optimizer.zero_grad()
            self.losses(module, self.everyone).sum().backward()
            for parameter in module.parameters():
                views = parameter.grad_sample.unflatten(0, (self.at.batch, self.at.views))
                parameter.grad_sample = views.mean(1) if self.at.views > 1 else parameter.grad_sample
            optimizer.step()

        return step

    def ghost(self, precision: torch.dtype) -> Callable[[], None]:
        """Opacus's two backward passes (`ghost`): norms first, then the sum of the weighted losses."""
        module = GradSampleModuleFastGradientClipping(
            self.plain(precision), loss_reduction="sum", use_ghost_clipping=True, max_grad_norm=1.0
        )
        optimizer = DPOptimizerFastGradientClipping(torch.optim.Adam(module.parameters()), **self._noise())

        def step() -> None:
            losses = self.losses(module, self.everyone)
            DPTensorFastGradientClipping(module, optimizer, losses, "sum").backward()
            optimizer.step()

        return step

    def _noise(self) -> dict[str, float]:
        return {"noise_multiplier": 1.0, "max_grad_norm": 1.0, "expected_batch_size": self.at.batch}

    def steps(self) -> dict[str, Callable[[], Callable[[], None]]]:
        """What makes each step of this setting, by name; peers' whole gradients fit small batches only."""
        makers = {}
        for precision in (F32, BF16):
            name = str(precision).removeprefix("torch.")
            makers |= {
                f"ordinary {name}": lambda p=precision: self.ordinary(self.network(p), parts=False),
                f"ordinary {name}, side by side": lambda p=precision: self.ordinary(self.network(p), parts=True),
                f"ours {name}": partial(self.ours, precision), f"opacus hooks {name}": partial(self.opacus, precision),
            }  # fmt: skip
        if self.at == FULL:
            makers |= {
                "opacus functorch float32": partial(self.opacus, F32, force_functorch=True),
                "opacus ghost float32": partial(self.ghost, F32),
                "library bfloat16": lambda: self.ordinary(self.library(), parts=False),
                "library bfloat16, side by side": lambda: self.ordinary(self.library(), parts=True),
            }
        if self.at.batch > FULL.batch:
            return {name: makers[name] for name in ("ordinary bfloat16, side by side", "ours bfloat16")}
        return makers


class _Sampled(nn.Module):
    """A network of `diffusers` with our arguments and a tensor for an answer."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor, noise: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return self.net(x, noise, label).sample
