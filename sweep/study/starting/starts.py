"""What a first study says of a program, of a function, and of the objective that comes with this package."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path

from sweep.errors import SweepError
from sweep.study.objective import suggests
from sweep.study.starting.declared import Declared, Option
from sweep.study.starting.proposals import Proposal, proposals
from sweep.study.starting.reading import Function, Shown, goal_of
from sweep.study.starting.text import Start, sound, words_text

_FLAGS = {"hydra": "${overrides}", "wandb": ""}  # by what reads the arguments; else
_OTHERS_FLAGS = "${flags}"
_SEED = re.compile(r"(^|[_.-])seed$", re.IGNORECASE)
_OUTPUT = re.compile(r"(^|[_.-])(save|out|output|checkpoints?|ckpt|logdir|log[_-]dir|results?)($|[_.-])", re.IGNORECASE)
_MOST_OTHERS = 6

# The parameters of the objective that comes with this package, with their defaults.
BUILT_IN = (
    Option(name="lr", kind="float", default=0.001, help="the learning rate"),
    Option(name="batch_size", kind="int", default=64),
    Option(name="shuffle", kind="bool", default=True, help="whether each epoch has an order of its own"),
    Option(name="epochs", kind="int", default=5),
    Option(name="model", kind="text", default="cnn", choices=("cnn", "lenet5", "mlp")),
    Option(name="optimizer", kind="text", default="adam", choices=("adam", "adamw", "sgd", "rmsprop")),
    Option(name="momentum", kind="float", default=0.0, help="for sgd and rmsprop"),
    Option(name="weight_decay", kind="float", default=0.0),
    Option(name="train_samples", kind="int", help="use only the first ones, for quick studies"),
    Option(name="precision", kind="text", default="float32", choices=("float32", "bfloat16"), help="tf32 as well, on a GPU"),
    Option(name="dataset", kind="text", default="fashion_mnist", choices=("fashion_mnist", "mnist", "kmnist")),
    Option(name="checkpoint_every", kind="int", help="batches between checkpoints inside an epoch"),
)


def built_in() -> Start:
    """Return the start of a study of the objective that comes with this package."""
    found = chosen(proposals(BUILT_IN), ("lr", "batch_size", "shuffle"))
    return Start(
        about="The built-in objective, a small network on FashionMNIST",
        runs={"objective": "sweep.objectives.fashion_mnist:train"},
        metrics=[("validation/accuracy", "maximize")],
        proposals=found,
    )


def of_program(typed: str, words: Sequence[str], given: Declared, shown: Shown, folder: Path) -> Start:
    """Return the start of a study of a program.

    Args:
        typed: the script, as the user has typed it.
        words: the program, its script as a word for the study file, and fixed words.
        given: what it declares.
        shown: what its file shows.
        folder: the study file's.

    Raises:
        SweepError: it needs a word that is not there, or has nothing that can be swept.
    """
    script, declared = words[1], given.for_words(typed, words[2:])
    hydra = declared.kind == "hydra"
    options, more, notes = [*declared.options], [], []
    writes = _writes(declared, shown)
    if writes and not hydra:  # what the script names by a relative path is beside the study file, not in the trial's folder
        texts = [one for one in options if one.kind == "text" and not _OUTPUT.search(one.name)]
        for option in [one for one in texts if _is_there(one.default, folder)]:
            options.remove(option)
            more.append(f"--{option.name}={option.default if '/' in option.default else f'./{option.default}'}")
            notes.append(f"--{option.name} is its default, as a file or folder beside this study")
    seed = next((one for one in options if one.kind == "int" and _SEED.search(one.name)), None)
    if seed is not None and declared.kind != "wandb":
        options.remove(seed)
        more.append(f"{'' if hydra else '--'}{seed.name}=${{seed}}")
        notes.append("${seed} is the trial's seed; with repeats: 3 each trial is trained with three")
    flags = _FLAGS.get(declared.kind, _OTHERS_FLAGS)
    runs = {"command": words_text([*words, *more, *([flags] if flags else [])])}
    why = {"command": "; ".join(notes)}
    if writes:
        runs["cwd"] = "${dir}/work"
        why["cwd"] = (
            f"Each trial has a working directory of its own, so that parallel ones never share a file ({writes}). Relative paths"
            f" in the script{f', such as {shown.beside},' if shown.beside else ''} mean that folder: give those of data as whole"
            " paths, or remove this line."
        )
    else:
        runs["# cwd"] = "${dir}/work"
        why["# cwd"] = "If the script writes files: with this line each trial has a working directory of its own."
    if shown.wandb:
        runs["env"] = "{WANDB_MODE: offline}"
        why["env"] = "What the script gives wandb.log is read on this machine; nothing is sent."
    found = [sound(one) for one in proposals(options)]
    for one in found:
        if one.option.required and not one.swept:
            word = f"{one.option.name}=VALUE" if hydra else f"-- --{one.option.name} VALUE"
            what = f"{typed} needs a value for {one.option.name!r}{f' ({one.option.help})' if one.option.help else ''}"
            raise SweepError("program-needs-words", what, do=f"add it:  sweep init {shlex.join([typed, *words[2:]])} {word}")
    _has_some(found, typed)
    ways = 'print(json.dumps({"step": epoch, "loss": loss}))', 'from sweep import trial; trial.report(epoch, {"loss": loss})'
    metric, metric_notes = _metric(shown, script, *ways)
    return Start(about=script, runs=runs, why=why, metrics=metric, metric_notes=metric_notes, proposals=found)


def of_function(reference: str, function: Function, shown: Shown, folder: Path) -> Start:
    """Return the start of a study of a function of a trial.

    Args:
        reference: `module:function`.
        function, shown: what it and its file show.
        folder: the study file's.

    Raises:
        SweepError: it reads no parameter.
    """
    runs = {"objective": reference}
    if function.optuna or (not function.parameters and suggests(reference, str(folder))):
        returned = [one for one in shown.metrics if one.how == "return"]
        metrics = [(one.name, one.goal) for one in returned] or [("value", "minimize")]
        notes = ["What the function returns; the goal is that of create_study, and minimize where the file has none."]
        return Start(about=reference, runs=runs, metrics=metrics, metric_notes=notes, proposals=None)
    found = [sound(one) for one in proposals(function.parameters)]
    _has_some(found, reference)
    metrics, notes = _metric(shown, "the function", 'trial.report(epoch, {"loss": loss})', "return loss")
    why = {"objective": "It gives trial.params to something else, which may read more than is listed here."}
    why = why if function.passes_on else {}
    return Start(about=reference, runs=runs, why=why, metrics=metrics, metric_notes=notes, proposals=found)


def chosen(found: Sequence[Proposal], names: Collection[str]) -> list[Proposal]:
    """Return the proposals with these parameters swept, and no others."""
    return [
        dataclasses.replace(one, swept=one.option.name in names, constant=one.constant and one.option.name not in names)
        for one in found
    ]


def named(start: Start, file: Path) -> Start:
    """Return a start with a name for the study if its file's own could be none of a folder."""
    name = re.sub(r"[^A-Za-z0-9._+-]+", "-", file.stem).strip("-._+") or "study"
    return start if name == file.stem else dataclasses.replace(start, runs={"name": name, **start.runs})


def with_metric(start: Start, name: str, goal: str | None) -> Start:
    """Return a start with the metric that the user named; without a goal, with that of its name."""
    return dataclasses.replace(start, metrics=[(name, goal or goal_of(name))])


def _writes(declared: Declared, shown: Shown) -> str:
    if declared.kind == "hydra":
        return "Hydra writes into outputs/"
    option = next((one.name for one in declared.options if _OUTPUT.search(one.name)), None)
    return shown.writes or ("it imports wandb" if shown.wandb else "") or (f"--{option}" if option else "")


def _is_there(default: object, folder: Path) -> bool:
    try:
        return isinstance(default, str) and default not in ("", ".") and (folder / default).exists()
    except (OSError, ValueError):  # too long for a path, or none
        return False


def _has_some(found: Sequence[Proposal], name: str) -> None:
    if any(one.swept or one.constant for one in found):
        return
    names = [one.option.name for one in found if one.option.kind != "other"]
    what = f"{name} has no parameter for which values can be proposed"
    if not names:
        raise SweepError("no-parameters", what, do="sweep docs own-code   shows how a script or function gets its parameters")
    lines = "\n".join(f"  {one}: {{values: [..., ...]}}" for one in names[:_MOST_OTHERS])
    raise SweepError("no-parameters", f"{what}: {', '.join(names)}", do=f"write a study file with\nparameters:\n{lines}")


def _metric(shown: Shown, name: str, *ways: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the metric, and comments that say where it comes from."""
    found = [one for one in shown.metrics if one.how != "return"]
    if found:
        first, *rest = found
        others = list(dict.fromkeys(one.name for one in rest if one.name != first.name))[:_MOST_OTHERS]
        also = f" Others in the file: {', '.join(others)}." if others else ""
        return [(first.name, first.goal)], [f"As in {first.how}, line {first.line}.{also}"]
    note = f"It is not known what {name} reports. It must report this metric in one of these ways (sweep docs own-code):"
    return [("loss", "minimize")], [note, *(f"    {way}" for way in ways)]
