"""PyTorch, imported at its first use: a configuration is checked, and trees are trained, without waiting for it."""

from typing import TYPE_CHECKING

from data.later import later

if TYPE_CHECKING:
    import torch
    from torch.nn import functional
else:
    torch = later("torch")
    functional = later("torch.nn.functional")

__all__ = ["functional", "torch"]
