"""What TensorBoard's other tabs show of a trial, made from its model, samples and predictions.

    watch(model, example)      GRAPHS; HISTOGRAMS and DISTRIBUTIONS at each report
    samples(images, labels)    IMAGES
    batch(number, metrics)     SCALARS, between two reports
    predictions(...)           PR CURVES; the confusion matrix and the worst mistakes in IMAGES
    embedding(name, vectors)   PROJECTOR

The study file's `log:` block switches each on or off. The first trial writes what the whole study needs only once. Pictures of
predictions and embeddings of the model are drawn at the next report or checkpoint, those of a trial's end by the runner
(`drawings`). Nothing here changes a result: no random number is drawn, and the model is not changed. Errors are printed to the
trial's log, and the training continues. Importing this module does not import torch; its panels do, except `batch`.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sweep.study import plain
from sweep.study.spec import LogSpec
from sweep.tensorboard import projector
from sweep.tensorboard.drawings import Picture, image_grid, pixels, write_embeddings
from sweep.tensorboard.run_writer import RunWriter

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.utils.tensorboard import SummaryWriter

_HISTOGRAM_VALUES = 100_000  # of a tensor: fewer than twice as many are used
_HISTOGRAM_BINS = 64  # the tab draws 30; torch's 1,500 take ten times the space
_MOST_CLASSES = 20  # more curves, or more cells with numbers, could not be read
_WORST_MISTAKES = 20
_MOST_POINTS = 300  # of an embedding: 1 MB of text for 28 x 28 pixels


class Panels:
    """Fill the tabs of one trial's run.

    Args:
        run: the trial's.
        log: which panels are wanted.
        first: whether this is the study's first trial, which writes what is needed once.

    Attributes:
        run: the trial's.
    """

    def __init__(self, run: RunWriter, log: LogSpec, *, first: bool) -> None:
        self.run, self._log, self._first = run, log, first
        self._model: nn.Module | None = None
        self._done: list[str] = []
        self._reports = 0
        self._embeddings: dict[str, projector.Embedding] = {}  # of this trial
        self._data: dict[str, projector.Embedding] = {}  # those of them that show the data
        self._pictures: list[Picture] = []  # which are not drawn yet
        self._unwritten: dict[str, projector.Embedding] = {}  # all of this trial, if one of the model is not written yet

    @functools.cached_property
    def writer(self) -> SummaryWriter:
        """Return the `SummaryWriter` of the trial's run."""
        from sweep.tensorboard.writer import TrialWriter

        return TrialWriter(self.run)

    def watch(self, model: nn.Module, example: Any = None) -> None:
        """Show the model's graph, and histograms of its weights and gradients at each report.

        Args:
            model: any module; its gradients are read when `trial.report` is called.
            example: a batch as `model(example)` takes it, or a tuple of several arguments; None for no graph.
        """
        self.run.lifetime.check("trial.panels.watch")
        self._model = model
        if example is not None and self._log.graph:
            self._once("graph", lambda: self._graph(model, example))

    def samples(self, images: Tensor, labels: Sequence[int] | Tensor | None = None, classes: Sequence[str] | None = None) -> None:
        """Show a grid of training images with their classes.

        Args:
            images: (n, height, width), (n, 1, height, width) or (n, 3, height, width); the first 32 are shown.
            labels: (n,) whole numbers.
            classes: a name for each label.
        """
        self.run.lifetime.check("trial.panels.samples")
        if self._log.images:
            self._once("samples", lambda: self._draw(image_grid("samples/training", 0, images, _names(labels, classes))))

    def batch(self, number: int, metrics: Mapping[str, Any]) -> None:
        """Add a point to each curve at every n-th batch (`log: {batches: n}`); other batches cost nothing.

        Args:
            number: of the batch, counted over all epochs.
            metrics: tag to number or 0-d tensor, read only when it is written.
        """
        self.run.lifetime.check("trial.panels.batch")
        if self._log.batches and number % self._log.batches == 0:
            self.run.guard("panels.batch", self._batch, plain.whole_number(number, "the number of a batch"), metrics)

    def predictions(
        self, images: Tensor | None, labels: Tensor, scores: Tensor, classes: Sequence[str] | None = None, step: int = 0
    ) -> None:
        """Show the quality of a classifier's predictions for each class.

        Args:
            images: (n, ...) as for `samples`; None to show no mistakes.
            labels: (n,) int64, the true classes.
            scores: (n, classes) logits.
            classes: a name for each class.
            step: of the points.
        """
        self.run.lifetime.check("trial.panels.predictions")
        if self._log.pr_curves or self._log.figures:
            self.run.guard("panels.predictions", self._predictions, images, labels, scores, classes, step)

    def embedding(
        self,
        name: str,
        vectors: Tensor,
        labels: Sequence[int] | Tensor | None = None,
        images: Tensor | None = None,
        classes: Sequence[str] | None = None,
        *,
        of_model: bool = True,
    ) -> None:
        """Show points in the projector; the first 300.

        Args:
            name: what the points are, such as `last hidden layer`.
            vectors: (n, dimensions).
            labels, classes: as for `samples`.
            images: (n, ...) as for `samples`: a thumbnail for each point.
            of_model: whether they come from the trial's model; then only those of the study's best trial are kept. If not,
                they show the data, and the first trial writes them.
        """
        self.run.lifetime.check("trial.panels.embedding")
        if self._log.projector and (of_model or self._first):
            self.run.guard("panels.embedding", self._embedding, name, vectors, _names(labels, classes), images, of_model=of_model)

    def reported(self, step: int) -> None:
        """Write the histograms of a report."""
        self.draw()
        self._reports += 1
        # At each of the first 63 reports, then every second, from 128 on every fourth: reports of each batch would fill the disk.
        due = self._reports % (1 << max(0, self._reports.bit_length() - 6)) == 0
        if self._model is not None and self._log.histograms and due:
            for name, parameter in self._model.named_parameters():
                self.run.guard("panels.histograms", self._histogram, f"weights/{name}", parameter, step)
                self.run.guard("panels.histograms", self._histogram, f"gradients/{name}", parameter.grad, step)

    def draw(self) -> None:
        """Draw the pictures, and write the embeddings, that wait for it."""
        pictures, embeddings = self.taken()
        for one in pictures:
            self.run.guard("panels.predictions", self._draw, one)
        if embeddings:
            self.run.guard("panels.embedding", write_embeddings, Path(self.run.log_dir), embeddings)

    def taken(self) -> tuple[list[Picture], dict[str, projector.Embedding]]:
        """Return the pictures and embeddings that wait to be drawn; from now on none does."""
        found = self._pictures, self._unwritten
        self._pictures, self._unwritten = [], {}
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return what a trial that resumes needs; plain data."""
        return {"done": list(self._done), "reports": self._reports}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from what `state_dict` returned; an older checkpoint has an empty state."""
        self._done, self._reports = list(state.get("done", [])), state.get("reports", 0)

    def clear(self) -> None:
        """Let go of the model and everything else of the trial, which has ended."""
        self._model = None
        self._embeddings, self._data = {}, {}
        self.taken()

    def _draw(self, one: Picture) -> None:
        self.run.add_summary(one.summary(), one.step, one.at)

    def _batch(self, number: int, metrics: Mapping[str, Any]) -> None:
        for tag, value in metrics.items():
            self.run.add_scalar_later(tag, value, number)

    def _once(self, name: str, write: Callable[[], None]) -> None:
        if self._first and name not in self._done:
            self._done.append(name)
            self.run.guard(f"panels.{name}", write)

    def _graph(self, model: nn.Module, example: Any) -> None:
        import torch

        # A copy in evaluation mode and without hooks, since tracing calls it.
        quiet = copy.deepcopy(model).eval()
        for module in quiet.modules():
            module._forward_hooks.clear()
            module._forward_pre_hooks.clear()
        with _same_random_numbers(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about tracing, which the user did not ask for
            # Checking a trace, which `add_graph` would do, imports what takes half a second, and runs the model twice more.
            trace = torch.jit.trace(quiet, example, check_trace=False)  # type: ignore[no-untyped-call]  # torch leaves it so
            self.writer.add_graph(trace, example)

    def _histogram(self, tag: str, tensor: Tensor | None, step: int) -> None:
        if tensor is None or tensor.numel() == 0:
            return
        import torch

        flat = tensor.detach().reshape(-1)
        # Every n-th value of a large tensor gives the same picture, without a random choice.
        values = flat[:: max(1, len(flat) // _HISTOGRAM_VALUES)].to("cpu", torch.float32).numpy()
        finite = values[np.isfinite(values)]
        if finite.size:
            self.writer.add_histogram(tag, finite, step, bins=_HISTOGRAM_BINS)

    def _predictions(
        self, images: Tensor | None, labels: Tensor, scores: Tensor, classes: Sequence[str] | None, step: int
    ) -> None:
        chances = scores.detach().float().softmax(1).cpu()
        labels = labels.cpu()
        names = list(classes) if classes else [str(number) for number in range(chances.shape[1])]
        if len(names) != chances.shape[1]:
            raise ValueError(f"there are scores for {chances.shape[1]} classes and names for {len(names)}")
        if self._log.pr_curves:
            for number, name in enumerate(names[:_MOST_CLASSES]):
                self.writer.add_pr_curve(f"precision-recall/{name}", labels == number, chances[:, number], step)
        if self._log.figures:
            self._confusion(chances.argmax(1), labels, names, step)
            if images is not None:
                self._mistakes(images, labels, chances, names, step)

    def _confusion(self, predicted: Tensor, labels: Tensor, names: Sequence[str], step: int) -> None:
        import torch

        size = len(names)
        counts = torch.bincount(labels * size + predicted, minlength=size * size).reshape(size, size).numpy()
        numbers = size <= _MOST_CLASSES
        tag = "predictions/confusion"
        self._pictures.append(Picture(tag=tag, step=step, values=counts, texts=[*names], is_grid=False, numbers=numbers))

    def _mistakes(self, images: Tensor, labels: Tensor, chances: Tensor, names: Sequence[str], step: int) -> None:
        chance, predicted = chances.max(1)
        wrong = (predicted != labels).nonzero().squeeze(1)
        worst = wrong[chance[wrong].argsort(descending=True, stable=True)][:_WORST_MISTAKES]
        found = zip(labels[worst].tolist(), predicted[worst].tolist(), chance[worst].tolist(), strict=True)
        titles = [f"{names[true]}\ntaken for {names[other]} {share:.0%}" for true, other, share in found]
        if titles:
            self._pictures.append(image_grid("predictions/worst mistakes", step, images[worst.to(images.device)], titles))

    def _embedding(
        self, name: str, vectors: Tensor, labels: Sequence[str] | None, images: Tensor | None, *, of_model: bool
    ) -> None:
        if vectors.dim() != 2:
            raise ValueError(f"an embedding needs vectors (n, dimensions), got a tensor {tuple(vectors.shape)}")
        self._embeddings[name] = found = projector.Embedding(
            vectors=vectors[:_MOST_POINTS].detach().cpu().numpy(),
            labels=labels[:_MOST_POINTS] if labels else None,
            images=None if images is None else pixels(images[:_MOST_POINTS]),
        )
        if of_model:
            self._unwritten = dict(self._embeddings)
        else:
            self._data[name] = found
            projector.write(Path(self.run.log_dir), self._data)


@contextlib.contextmanager
def _same_random_numbers() -> Iterator[None]:
    """Restore Python's, NumPy's and torch's generators afterwards."""
    import torch

    cuda = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=cuda):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _names(labels: Sequence[int] | Tensor | None, classes: Sequence[str] | None) -> list[str] | None:
    if labels is None:
        return None
    numbers: list[Any] = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    return [classes[number] if classes else str(number) for number in numbers]
