"""The panels: what fills TensorBoard's other tabs, when it is written, and that it changes no result."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.custom_scalar import layout_pb2

from sweep.storage.folder import BEST_EMBEDDINGS
from sweep.study.spec import LogSpec
from sweep.tensorboard import event_files
from sweep.tensorboard.panels import Panels
from sweep.tensorboard.run_writer import RunWriter
from sweep.tensorboard.writer import TrialWriter
from tests.conftest import Cli
from tests.support.interrupting import run_killed
from tests.support.reading import outcome, points, records, scalars
from tests.support.studies import write_objectives, write_study

ALL = LogSpec(batches=2, projector=True)
NONE = LogSpec(
    images=False, graph=False, charts=False, batches=0, histograms=False, pr_curves=False, figures=False, projector=False
)
IMAGES, LABELS = torch.rand(30, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(30) % 3
SCORES = torch.rand(30, 3, generator=torch.Generator().manual_seed(2))


def fill(folder: Path, log: LogSpec, *, first: bool = True) -> set[tuple[str, str]]:
    """Hand over everything there is; return plugin and tag of what was written."""
    writer = RunWriter(folder, lays_out=first and log.charts)
    panels = Panels(writer, log, first=first)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    panels.samples(IMAGES, LABELS)
    panels.watch(model, IMAGES)
    panels.embedding("pixels", IMAGES.flatten(1), LABELS, IMAGES, of_model=False)
    model(IMAGES).sum().backward()
    for number in (1, 2, 3):
        panels.batch(number, {"batch/loss": 1.0})
    panels.writer.add_scalars("pair", {"one": 1, "two": 2}, 1)
    panels.reported(1)
    panels.predictions(IMAGES, LABELS, SCORES, ("a", "b", "c"), 1)
    panels.embedding("hidden", SCORES, LABELS, IMAGES)
    panels.draw()
    writer.close()
    assert len(list(folder.glob("events*"))) == 1
    return {(kind, tag) for kind, tag, _ in points(folder)} | {
        ("projector", str(path.relative_to(folder).parent)) for path in folder.rglob("projector_config.pbtxt")
    }


class OnGpu(torch.Tensor):
    """A tensor that says of itself that it is not on the CPU."""

    is_cpu = False


def test_a_number_on_a_gpu_is_not_waited_for(tmp_path: Path) -> None:
    """It is written with everything else at the next flush, as it was and with the time at which it was handed over."""
    writer = RunWriter(tmp_path)
    panels = Panels(writer, LogSpec(batches=2), first=True)
    loss = torch.tensor(3.0).as_subclass(OnGpu)
    for number in (1, 2, 3, 4):
        panels.batch(number, {"batch/loss": loss})
        loss.add_(1)
    handed_over = time.time()
    writer.events.flush()
    assert "batch/loss" not in scalars(tmp_path)
    time.sleep(0.01)
    writer.written()
    assert scalars(tmp_path)["batch/loss"] == [(2, 4.0), (4, 6.0)]
    found = EventAccumulator(str(tmp_path))
    found.Reload()
    assert all(event.wall_time <= handed_over for event in found.Scalars("batch/loss"))
    writer.close()


OF_LOG = {
    "images": {("images", "samples/training")},
    "graph": {("graphs", "graph")},
    "charts": {("custom_scalars", "custom_scalars__config__")},
    "batches": {("scalars", "batch/loss")},
    "histograms": {("histograms", f"{what}/{name}") for what in ("weights", "gradients") for name in ("1.weight", "1.bias")},
    "pr_curves": {("pr_curves", f"precision-recall/{name}") for name in "abc"},
    "figures": {("images", "predictions/confusion"), ("images", "predictions/worst mistakes")},
    "projector": {("projector", "."), ("projector", BEST_EMBEDDINGS)},
}
ALWAYS = {("scalars", "pair/one"), ("scalars", "pair/two")}
ONCE = OF_LOG["images"] | OF_LOG["graph"] | OF_LOG["charts"] | {("projector", ".")}


def kinds(found: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Give torch's old-style values the names of the plugins that show them."""
    plugins = {"simple_value": "scalars", "histo": "histograms", "image": "images"}
    return {(plugins.get(kind, kind), tag) for kind, tag in found}


def test_every_key_of_log_is_a_panel() -> None:
    """And the other way round."""
    assert set(OF_LOG) == {field.name for field in dataclasses.fields(LogSpec)}


def test_everything_can_be_shown_in_one_file(tmp_path: Path) -> None:
    """Every panel on."""
    assert kinds(fill(tmp_path, ALL)) == ALWAYS.union(*OF_LOG.values())


@pytest.mark.parametrize("key", OF_LOG)
def test_each_panel_has_its_switch(tmp_path: Path, key: str) -> None:
    """Off alone, only it is missing; on alone, only it is there."""
    off, alone = (0, 2) if key == "batches" else (False, True)
    missing = kinds(fill(tmp_path / "off", dataclasses.replace(ALL, **{key: off})))  # type: ignore[arg-type]  # by name
    assert missing == ALWAYS.union(*OF_LOG.values()) - OF_LOG[key]
    there = kinds(fill(tmp_path / "alone", dataclasses.replace(NONE, **{key: alone})))  # type: ignore[arg-type]  # as above
    assert there == ALWAYS | OF_LOG[key]


def test_what_a_study_needs_once_is_its_first_trials(tmp_path: Path) -> None:
    """Samples, graph, charts and the data's embedding are not written by the others."""
    assert kinds(fill(tmp_path, ALL, first=False)) == ALWAYS.union(*OF_LOG.values()) - ONCE


def layout(folder: Path) -> dict[str, dict[str, list[str]]]:
    """Return the charts of the CUSTOM SCALARS tab as the last description has them."""
    [path] = folder.glob("events*")
    found = layout_pb2.Layout()
    with path.open("rb") as file:
        for start, length in list(event_files.records(file)):
            file.seek(start)
            for value in Event.FromString(file.read(length)).summary.value:
                if value.tag == "custom_scalars__config__":
                    found = layout_pb2.Layout.FromString(value.tensor.string_val[0])
    return {category.title: {chart.title: list(chart.multiline.tag) for chart in category.chart} for category in found.category}


def test_add_scalars_makes_one_chart_of_one_run(tmp_path: Path) -> None:
    """Beside what the user describes, whenever each of them is called."""
    run = RunWriter(tmp_path)
    writer = TrialWriter(run)
    writer.add_scalars("loss", {"train": 2.0, "validation": 3.0}, 1)
    writer.flush()
    writer.add_custom_scalars({"mine": {"both": ["Multiline", ["a", "b"]]}})
    writer.add_scalars("loss", {"test": 4.0}, 2)
    run.close()
    assert [path.name[:6] for path in tmp_path.iterdir()] == ["events"]
    assert scalars(tmp_path) == {"loss/train": [(1, 2.0)], "loss/validation": [(1, 3.0)], "loss/test": [(2, 4.0)]}
    assert layout(tmp_path) == {
        "add_scalars": {"loss": ["loss/train", "loss/validation", "loss/test"]},
        "mine": {"both": ["a", "b"]},
    }


def test_metrics_that_end_alike_share_a_chart(tmp_path: Path) -> None:
    """Training against validation, without code."""
    writer = RunWriter(tmp_path)
    writer.charts_of(["validation/accuracy", "train/loss", "validation/loss", "train/accuracy", "lr"])
    writer.close()
    assert layout(tmp_path)["compared"] == {
        "accuracy": ["validation/accuracy", "train/accuracy"],
        "loss": ["train/loss", "validation/loss"],
    }


def test_a_panel_that_fails_costs_no_training(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What it raised is in the trial's log, and the next one works."""
    writer = RunWriter(tmp_path)
    panels = Panels(writer, ALL, first=True)
    panels.samples(torch.rand(3), [7], ["a"])
    panels.watch(torch.nn.Linear(3, 1), torch.rand(2, 4))
    panels.predictions(None, torch.zeros(2), torch.rand(2, 3))
    panels.embedding("e", torch.rand(3))
    panels.batch(2, {"a": "no number"})
    panels.reported(1)
    writer.close()
    said = capfd.readouterr().err
    for name in ("panels.samples", "panels.predictions", "panels.embedding", "panels.graph", "add_scalar"):
        assert f"writer.{name} failed; the trial continues without it" in said
    assert {"weights/weight", "weights/bias"} <= {tag for _, tag, _ in points(tmp_path)}


def test_no_layer_is_too_odd_for_the_histograms(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What cannot be drawn, such as a sparse gradient, is told in the log; the others are drawn."""
    writer = RunWriter(tmp_path)
    panels = Panels(writer, ALL, first=True)
    model = torch.nn.Sequential(torch.nn.Embedding(10, 3, sparse=True), torch.nn.Linear(3, 1))
    model(torch.tensor([1, 2])).sum().backward()
    panels.watch(model)
    panels.reported(1)
    writer.close()
    assert "writer.panels.histograms failed; the trial continues without it" in capfd.readouterr().err
    assert {tag for _, tag, _ in points(tmp_path)} == {
        "weights/0.weight", "weights/1.weight", "weights/1.bias", "gradients/1.weight", "gradients/1.bias",
    }  # fmt: skip


def test_histograms_of_many_reports_become_rarer(tmp_path: Path) -> None:
    """Each of the first 63, then every second, then every fourth; a trial that resumes continues the count."""
    writer = RunWriter(tmp_path)
    panels = Panels(writer, ALL, first=True)
    panels.watch(torch.nn.Linear(1, 1, bias=False))
    for step in range(1, 101):
        panels.reported(step)
    later = Panels(writer, ALL, first=True)
    later.load_state_dict(panels.state_dict())
    later.watch(torch.nn.Linear(1, 1, bias=False))
    for step in range(101, 141):
        later.reported(step)
    writer.close()
    assert [step for _, _, step in points(tmp_path)] == [*range(1, 64), *range(64, 128, 2), *range(128, 141, 4)]


def test_the_graph_is_drawn_without_anybody_noticing(tmp_path: Path) -> None:
    """No generator moves, no hook is called, no statistic changes."""
    called = []

    class Noisy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = torch.nn.BatchNorm1d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Draw from every generator there is."""
            random.random(), np.random.rand(), torch.rand(1)
            found: torch.Tensor = self.norm(x)
            return found

    model = Noisy()
    model.register_forward_hook(lambda *_: called.append(1))
    before = random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()
    writer = RunWriter(tmp_path)
    Panels(writer, ALL, first=True).watch(model, torch.rand(4, 3, generator=torch.Generator().manual_seed(0)))
    writer.close()
    assert ("graphs", "graph") in {(kind, tag) for kind, tag, _ in points(tmp_path)}
    assert (random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()) == before
    assert not called
    assert model.training
    assert model.norm.num_batches_tracked == 0


def test_a_layout_that_is_none_costs_no_trial(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither of a wrong kind nor of a wrong size; the other charts are described."""
    run = RunWriter(tmp_path)
    writer = TrialWriter(run)
    writer.add_custom_scalars({"a": {"c": "oops"}})
    writer.add_custom_scalars(["none"])  # type: ignore[arg-type]  # what a user may do
    writer.add_custom_scalars_multilinechart(["x", "y"], "mine", "both")
    run.close()
    assert "writer.add_custom_scalars failed" in capfd.readouterr().err
    assert layout(tmp_path) == {"mine": {"both": ["x", "y"]}}


def test_a_checkpoint_from_before_the_panels_is_used(tmp_path: Path) -> None:
    """A trial that was interrupted by an older version resumes."""
    writer = RunWriter(tmp_path)
    writer.load_state_dict({"described": True, "last_step": {"a": 3}})
    Panels(writer, ALL, first=True).load_state_dict({})
    writer.add_scalar("a", 1.0, 4)
    writer.close()
    assert scalars(tmp_path) == {"a": [(4, 1.0)]}


def test_names_must_fit_the_scores(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Counts in wrong cells would be worse than none."""
    writer = RunWriter(tmp_path)
    Panels(writer, ALL, first=True).predictions(None, LABELS, torch.rand(30, 4), ("a", "b", "c"))
    writer.close()
    assert "there are scores for 4 classes and names for 3" in capfd.readouterr().err
    assert points(tmp_path) == []


def test_weights_that_are_not_finite_do_not_spoil_a_histogram(tmp_path: Path) -> None:
    """The finite ones are shown; with none there is no histogram."""
    writer = RunWriter(tmp_path)
    panels = Panels(writer, ALL, first=True)
    model = torch.nn.Linear(3, 1)
    with torch.no_grad():
        model.weight[0, 0] = float("nan")
        model.bias.fill_(float("inf"))
    panels.watch(model)
    panels.reported(1)
    writer.close()
    assert {tag for _, tag, _ in points(tmp_path)} == {"weights/weight"}


def test_thumbnails_are_where_the_projector_looks_for_them(tmp_path: Path) -> None:
    """Row by row in one square picture, each as large as the configuration says."""
    images = (torch.arange(5).reshape(5, 1, 1) * torch.ones(5, 4, 6)).to(torch.uint8)
    writer = RunWriter(tmp_path)
    Panels(writer, ALL, first=True).embedding(
        "raw pixels", images.flatten(1), [0, 1, 2, 3, 4], images, list("abcde"), of_model=False
    )
    writer.close()
    place = tmp_path / "projector" / "raw_pixels"
    config = (tmp_path / "projector_config.pbtxt").read_text()
    assert 'image_path: "projector/raw_pixels/thumbnails.png"' in config
    assert "single_image_dim: 6\n    single_image_dim: 4" in config
    sheet = np.asarray(Image.open(place / "thumbnails.png"))
    assert sheet.shape == (12, 18, 3)  # three by three of 4 x 6
    assert [int(sheet[4 * (i // 3), 6 * (i % 3), 0]) for i in range(9)] == [0, 1, 2, 3, 4, 0, 0, 0, 0]
    assert (place / "labels.tsv").read_text() == "a\nb\nc\nd\ne\n"
    assert (place / "tensors.tsv").read_text().splitlines()[2] == "\t".join(["2"] * 24)


# ---------------------------------------------------------------- in a study

STUDY = """
name: panels
objective: mine:shows
metric: {name: score, goal: maximize}
method: grid
parameters:
  kill_at: {values: [0, 2]}
  x:       {value: 1}
log: {batches: 3, projector: true}
workers: {per_device: 1}
"""


@pytest.fixture
def study(here: Path) -> Path:
    write_objectives(here)
    return write_study(here, STUDY)


@pytest.mark.slow
def test_no_panel_is_doubled_or_lost_by_a_kill(study: Path, here: Path) -> None:
    """Every record of a trial that was killed is that of the others, and so is every number."""
    _, (first, *_) = run_killed(str(study), here=here, by="kill_at", folder="panels")
    folders = [here / "runs" / "panels" / record.folder for record in records(here / "runs" / "panels")]
    once = {("graphs", "graph"), ("image", "samples/training")}
    undisturbed = points(folders[0])
    assert once <= {(kind, tag) for kind, tag, _ in undisturbed}
    assert len(undisturbed) == len(set(undisturbed))
    for folder in folders[1:]:
        assert sorted(points(folder)) == sorted(p for p in undisturbed if p[:2] not in once and p[0] != "custom_scalars")
    assert [step for step, _ in first["points"]["batch/loss"]] == [3, 6, 9, 12]


@pytest.mark.slow
def test_no_panel_of_the_first_trial_is_doubled_or_lost_by_a_kill(cli: Cli, study: Path, here: Path) -> None:
    """Which writes what the study needs once."""
    whole = cli("run", str(study), "kill_at.values=[0]")
    assert whole.code == 0, whole.err
    [folder] = [here / "runs" / "panels" / record.folder for record in records(here / "runs" / "panels")]
    undisturbed = points(folder)
    killed = cli("run", str(study), "name=first", "kill_at.values=[2]")
    assert killed.code == 0, killed.err
    [folder] = [here / "runs" / "first" / record.folder for record in records(here / "runs" / "first")]
    assert sorted(points(folder)) == sorted(undisturbed)


@pytest.mark.slow
def test_only_the_best_trials_hidden_layer_is_kept(cli: Cli, study: Path, here: Path) -> None:
    """Beside the first one's raw pixels."""
    done = cli("run", str(study), "x.values=[0, 1, 2]", "kill_at.value=0")
    assert done.code == 0, done.err
    found = records(here / "runs" / "panels")
    best = max(found, key=lambda record: (record.value or 0, -record.number))
    assert best.number != 0
    folder = here / "runs" / "panels"
    kept = {str(path.relative_to(folder).parent) for path in folder.rglob("projector_config.pbtxt")}
    assert kept == {found[0].folder, f"{best.folder}/{BEST_EMBEDDINGS}"}
    assert not (folder / found[0].folder / "plugins").exists()


@pytest.mark.slow
def test_panels_change_no_number(cli: Cli, study: Path, here: Path) -> None:
    """Everything on or off: the same metrics and weights, bit for bit, with dropout and batch normalisation."""
    on = cli("run", str(study), "name=with", "kill_at.values=[0]")
    off = cli("run", str(study), "name=without", "kill_at.values=[0]", *(
        f"log.{field.name}={0 if field.name == 'batches' else 'false'}" for field in dataclasses.fields(LogSpec)
    ))  # fmt: skip
    assert (on.code, off.code) == (0, 0), on.err + off.err
    [one], [other] = outcome(here / "runs" / "with"), outcome(here / "runs" / "without")
    assert one["metrics"] == other["metrics"]
    assert one["weights"] == other["weights"]
    assert "batch/loss" not in other["points"]


@pytest.mark.slow
def test_the_best_value_so_far_is_a_curve_of_its_own(cli: Cli, here: Path, study: Path) -> None:
    """For either goal, and over a kill: the tab's own column is the last value."""
    for name, goal, pick in (("up", "maximize", max), ("down", "minimize", min)):
        done = cli("run", str(study), f"name={name}", f"metric.goal={goal}", "objective=mine:zigzag", "kill_at.values=[2]")
        assert done.code == 0, done.err
        [record] = records(here / "runs" / name)
        found = scalars(here / "runs" / name / record.folder)
        values = [value for _, value in found["score"]]
        assert len(values) == 4
        assert [value for _, value in found["best/score"]] == running(values, pick)


def running(values: list[float], pick: Callable[..., Any]) -> list[float]:
    return [pick(values[: place + 1]) for place in range(len(values))]
