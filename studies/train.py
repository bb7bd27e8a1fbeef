"""Fit a small network to a noisy spiral: an ordinary script, which also runs alone (python studies/train.py --lr=0.05).

Two lines are for sweep: the import and the report. Three more load and pass the state, so that an interrupted trial resumes.
"""

from __future__ import annotations

import argparse

import torch
from torch import nn

from sweep import trial

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--lr", type=float, default=0.01)
parser.add_argument("--width", type=int, default=16)
parser.add_argument("--epochs", type=int, default=5)
options = parser.parse_args()

torch.manual_seed(trial.seed)
turn = torch.rand(2000) * 6
arm = torch.randint(0, 2, (2000,))
angle = turn + 3.1416 * arm
points = torch.stack([angle.cos(), angle.sin()], 1) * turn.unsqueeze(1) / 6 + torch.randn(2000, 2) / 50
points, arm = points.to(trial.device), arm.to(trial.device)
train, validation = slice(0, 1600), slice(1600, 2000)

model = nn.Sequential(nn.Linear(2, options.width), nn.ReLU(), nn.Linear(options.width, options.width), nn.ReLU())
model.append(nn.Linear(options.width, 2)).to(trial.device)
optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)
if trial.state:
    model.load_state_dict(trial.state["model"])
    optimizer.load_state_dict(trial.state["optimizer"])

for epoch in trial.steps(options.epochs):
    for batch in torch.randperm(1600, device=trial.device).split(32):
        loss = nn.functional.cross_entropy(model(points[train][batch]), arm[train][batch])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        optimizer.step()
    with torch.no_grad():
        logits = model(points[validation])
    metrics = {
        "train/loss": loss.detach(),
        "validation/loss": nn.functional.cross_entropy(logits, arm[validation]),
        "validation/accuracy": (logits.argmax(1) == arm[validation]).float().mean(),
    }
    trial.report(epoch, metrics, {"model": model.state_dict(), "optimizer": optimizer.state_dict()})
