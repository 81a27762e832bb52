"""Batch normalisation over the batch of all processes that train together."""

from __future__ import annotations

import torch
import torch.distributed.nn.functional as together
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.training.together import processes


def share_norms(network: nn.Module, device: torch.device) -> nn.Module:
    """The network with batch normalisation over all processes; its weights and buffers stay the same objects."""
    if processes() == 1:
        return network
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for layer in network.modules():
        if isinstance(layer, _BatchNorm):
            layer.__class__ = SharedBatchNorm
    return network


class SharedBatchNorm(_BatchNorm):
    """What SyncBatchNorm is, which there is for GPUs only; every process has a batch of the same size."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        axes, around = [0, *range(2, x.ndim)], (slice(None), *[None] * (x.ndim - 2))
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        mean = _mean(exact.mean(axes))
        centred = exact - mean[around]
        variance = _mean(centred.square().mean(axes))
        count = processes() * x.numel() // x.shape[1]
        with torch.no_grad():
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), self.momentum)
        scaled = centred * (self.weight * (variance + self.eps).rsqrt())[around] + self.bias[around]
        return scaled.to(x.dtype)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of axes will do."""


def _mean(value: Tensor) -> Tensor:
    """The mean over all processes, differentiable."""
    return together.all_reduce(value) / processes()
