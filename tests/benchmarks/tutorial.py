"""The training function of the tutorials, which four of the sides of `compare` run.

A DataLoader with ToTensor for each sample, `.item()` at each step, scalars and hparams through SummaryWriter. It trains on
the same 55,000 images as the study (or the same first ones of them) and evaluates nothing.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # as everybody calls it
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from torch.utils.tensorboard import SummaryWriter
from torchvision import datasets as torchvision_datasets
from torchvision.transforms import ToTensor

from sweep.objectives import datasets, images
from tests.benchmarks import timer
from tests.benchmarks.terms import Terms, tag


class Network(nn.Module):
    """The tutorials' network, pooling after ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 12, 5)
        self.fc1, self.fc2, self.out = nn.Linear(192, 120), nn.Linear(120, 60), nn.Linear(60, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, 10) of images (n, 1, 28, 28)."""
        x = F.max_pool2d(F.relu(self.conv1(images)), 2, 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2, 2).reshape(-1, 192)
        logits: Tensor = self.out(F.relu(self.fc2(F.relu(self.fc1(x)))))
        return logits


@functools.cache  # a script reads it once; a process that trains several trials does too
def training_data(samples: int) -> Subset[Any]:
    """Return the first of the training images that the study trains on."""
    whole = torchvision_datasets.FashionMNIST(str(datasets.cache_root()), train=True, download=False, transform=ToTensor())
    kept, _ = images.stratified_split(whole.targets, images.VALIDATION_SAMPLES)
    return Subset(whole, kept[:samples].tolist())


def train(setting: dict[str, Any], terms: Terms) -> float:
    """Train one setting as the tutorials do; return the accuracy over the last epoch's training samples."""
    timer.start(setting)
    lr, batch_size, shuffle = setting["lr"], setting["batch_size"], setting["shuffle"]
    data = training_data(terms.samples)
    torch.manual_seed(0)
    network = Network().to(terms.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    loader = DataLoader(data, batch_size=batch_size, shuffle=shuffle)
    accuracy = 0.0
    with SummaryWriter(str(Path(terms.folder) / "runs" / tag(setting))) as writer:
        for epoch in range(terms.epochs):
            total_loss, total_correct = 0.0, 0
            for batch in loader:
                images, labels = batch[0].to(terms.device), batch[1].to(terms.device)
                logits = network(images)
                loss = F.cross_entropy(logits, labels)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
                optimizer.step()
                total_loss += loss.item() * batch_size
                total_correct += int(logits.argmax(dim=1).eq(labels).sum().item())
            accuracy = total_correct / len(data)
            writer.add_scalar("Loss", total_loss, epoch)
            writer.add_scalar("Accuracy", accuracy, epoch)
        writer.add_hparams({"lr": lr, "batch_size": batch_size, "shuffle": shuffle}, {"accuracy": accuracy, "loss": total_loss})
    timer.end(setting, accuracy)
    return accuracy
