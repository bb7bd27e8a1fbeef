"""A script as tutorials of TensorBoard have it: a small network, its own SummaryWriter, images, histograms and add_hparams."""

import argparse

import torch
import torchvision
from torch import nn
from torch.nn import functional as F  # noqa: N812  # as everybody writes it
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.tensorboard import SummaryWriter

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.01)
parser.add_argument("--batch_size", type=int, default=32)
parser.add_argument("--shuffle", action="store_true")
args = parser.parse_args()
lr, batch_size, shuffle = args.lr, args.batch_size, args.shuffle


class Network(nn.Module):
    """One convolution, one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3)
        self.out = nn.Linear(4 * 5 * 5, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        return self.out(x.flatten(1))  # type: ignore[no-any-return]  # torch says Any


torch.manual_seed(0)
labels = torch.randint(0, 10, (256,))
images = torch.rand(256, 1, 12, 12) + labels.view(-1, 1, 1, 1) / 10
train_set = TensorDataset(images, labels)

model = Network()
loader = DataLoader(train_set, batch_size=batch_size, shuffle=shuffle)
optimizer = torch.optim.Adam(model.parameters(), lr=lr)

batch, _ = next(iter(loader))
tb = SummaryWriter(comment=f" batch_size={batch_size} lr={lr} shuffle={shuffle}")
tb.add_image("images", torchvision.utils.make_grid(batch))
tb.add_graph(model, batch)

for epoch in range(3):
    total_loss, total_correct = 0.0, 0
    for batch, targets in loader:
        logits = model(batch)
        loss = F.cross_entropy(logits, targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # of torch
        optimizer.step()
        total_loss += loss.item() * len(batch)
        total_correct += logits.argmax(dim=1).eq(targets).sum().item()

    tb.add_scalar("Loss", total_loss, epoch)
    tb.add_scalar("Number Correct", total_correct, epoch)
    tb.add_scalar("Accuracy", total_correct / len(train_set), epoch)
    tb.add_histogram("conv1.bias", model.conv1.bias, epoch)
    tb.add_histogram("conv1.weight", model.conv1.weight, epoch)
    tb.add_histogram("conv1.weight.grad", model.conv1.weight.grad, epoch)
    print("epoch:", epoch, "total_correct:", total_correct, "loss:", total_loss)

tb.add_hparams(
    {"lr": lr, "bsize": batch_size, "shuffle": shuffle},
    {"hparam/accuracy": total_correct / len(train_set), "Loss": total_loss},
)
tb.close()
