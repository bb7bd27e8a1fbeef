"""The images and labels of a data set as tensors on the device, split into training, validation and test samples.

The images are one uint8 tensor, indexed by a permutation and divided by 255 on the device: bit for bit what torchvision's
`ToTensor` gives, at a fraction of a DataLoader's time.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sweep.objectives import datasets
from sweep.objectives.networks import CLASSES

VALIDATION_SAMPLES = 5_000
_SPLIT_SEED = 20260101


@dataclass(frozen=True, kw_only=True)
class Split:
    """Some samples of a data set: uint8 images (all, 28, 28), int64 labels (all,), and the indices of the samples (n,)."""

    images: Tensor
    labels: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def batch(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return images as float32 (n, 1, 28, 28) in [0, 1] and labels (n,)."""
        chosen = self.index[places]
        return to_float(self.images[chosen]), self.labels[chosen]


def to_float(images: Tensor) -> Tensor:
    """Return uint8 images (n, 28, 28) as torchvision's `ToTensor` does: float32 (n, 1, 28, 28), divided by 255.

    By a tensor, because CUDA multiplies by the reciprocal of a number, which gives other bits for 126 of the 256 values.
    """
    return images.unsqueeze(1).to(torch.float32).div_(_largest(images.device))


@functools.cache
def _largest(device: torch.device) -> Tensor:
    return torch.tensor(255.0, dtype=torch.float32, device=device)


@functools.cache  # once per worker process, whatever the number of trials
def load(name: str, device: str) -> tuple[Split, Split, Split]:
    """Return the training (55,000), validation (5,000) and test (10,000) samples of a data set, on the device."""
    root = datasets.cache_root()
    for _ in datasets.fetch(name, root):
        pass  # `prepare` has fetched the first trial's data set; another trial may use another one
    raw = datasets.raw_folder(name, root)
    train_images, train_labels, test_images, test_labels = (_read_idx(raw / file, device) for file in datasets.FILES)
    train, validation = stratified_split(train_labels.cpu(), VALIDATION_SAMPLES)
    return (
        Split(images=train_images, labels=train_labels, index=train.to(device)),
        Split(images=train_images, labels=train_labels, index=validation.to(device)),
        Split(images=test_images, labels=test_labels, index=torch.arange(len(test_labels), device=device)),
    )


def stratified_split(labels: Tensor, held_out: int) -> tuple[Tensor, Tensor]:
    """Return the indices of the samples to keep and of those held out (the same number of each class), both ascending.

    Raises:
        ValueError: `held_out` is not a multiple of the number of classes.
    """
    if held_out % CLASSES:
        raise ValueError(f"{held_out} samples cannot be shared evenly among {CLASSES} classes")
    generator = torch.Generator().manual_seed(_SPLIT_SEED)
    out = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(CLASSES):
        members = (labels == label).nonzero().squeeze(1)
        out[members[torch.randperm(len(members), generator=generator)[: held_out // CLASSES]]] = True
    return (~out).nonzero().squeeze(1), out.nonzero().squeeze(1)


def _read_idx(path: Path, device: str) -> Tensor:
    # IDX: two zero bytes, the type (8: uint8), the number of dimensions, each as big-endian int32, then the data.
    # Mapped, not read: the worker processes of a machine share the pages. Whoever writes to one gets a copy.
    content = torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)
    head = bytes(content[:16].tolist())
    shape = [int.from_bytes(head[4 + 4 * i : 8 + 4 * i], "big") for i in range(head[3])]
    data = content[4 + 4 * len(shape) :].reshape(shape)
    return (data.to(torch.int64) if len(shape) == 1 else data).to(device)
