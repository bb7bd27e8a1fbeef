"""The sides of `compare`, each a command of its own: `python -m tests.benchmarks.contenders SIDE TERMS`, ours `sweep run`.

The plain function is that of the tutorials (`tutorial`), ours the built-in objective (`ours`). Each peer is used as its own
documentation shows, and sets the threads of its processes itself:

- plain: the settings one after another in one process, with torch's own number of threads;
- ray: `Tuner.fit` over a grid, one CPU per trial (for which Ray sets OMP_NUM_THREADS=1), a new process for each trial, which is
  Ray's default; no dashboard, nothing printed, nothing sent to other machines;
- ray-reuse: the same with `reuse_actors=True`, and our training function;
- optuna: the settings enqueued in a study on a journal file; `joblib.Parallel` over processes, one `study.optimize(n_trials=1)`
  for each setting, so that no process waits while a setting is left (joblib sets the threads to cores / processes);
- hydra: `--multirun` with the joblib launcher, as a script of Hydra's own is started;
- sweep: `sweep run studies/fashion.yaml` with all its logging, one side for each number of workers.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.terms import BATCH_SIZES, GRID, LRS, SHUFFLES, TRAINING_SAMPLES, Terms, unpacked

REPOSITORY = Path(__file__).parents[2]
_OBJECT_STORE_BYTES = 100_000_000  # Ray reserves a third of the memory otherwise; nothing large is passed here


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One side.

    Attributes:
        key: its name in `--only`.
        name: its name in the table.
        package: the distribution that it needs.
        imports: what its processes import, imported once before anything is measured.
    """

    key: str
    name: str
    package: str
    imports: str


CONTENDERS = [
    Contender(key="plain", name="plain loop", package="torch", imports="torch.utils.tensorboard, torchvision.datasets"),
    Contender(key="ray", name="Ray Tune, plain function", package="ray", imports="ray.tune"),
    Contender(key="ray-reuse", name="Ray Tune, reused actors, our function", package="ray", imports="ray.tune"),
    Contender(key="optuna", name="Optuna and joblib, plain function", package="optuna", imports="optuna, joblib"),
    Contender(key="hydra", name="Hydra's joblib launcher, plain function", package="hydra-joblib-launcher", imports="hydra"),
    Contender(key="sweep", name="sweep", package="sweep", imports="sweep.api, matplotlib.figure"),
]


def command(key: str, terms: Terms) -> list[str]:
    """Return the words that run a side."""
    if key != "sweep":
        return [sys.executable, "-m", "tests.benchmarks.contenders", key, terms.packed()]
    words = [
        "objective=tests.benchmarks.ours:train",
        f"epochs.value={terms.epochs}",
        f"workers.per_device={terms.slots}",
        f"output={terms.folder}/runs",
    ]
    if terms.samples < TRAINING_SAMPLES:
        words.append(f"parameters.train_samples.value={terms.samples}")
    return [sys.executable, "-m", "sweep", "run", str(REPOSITORY / "studies" / "fashion.yaml"), *words]


def plain(terms: Terms) -> None:
    from tests.benchmarks import tutorial

    for setting in GRID:
        tutorial.train(setting, terms)


def ray_tune(terms: Terms, *, reuse: bool) -> None:
    import ray
    from ray import tune

    gpus = 1 if terms.device == "cuda" else 0
    ray.init(
        num_cpus=terms.slots,
        num_gpus=gpus,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=_OBJECT_STORE_BYTES,
        _temp_dir=f"{terms.folder}/ray",
        _node_ip_address="127.0.0.1",
    )
    function = functools.partial(ray_ours if reuse else ray_plain, terms=terms)
    tune.Tuner(
        tune.with_resources(function, {"cpu": 1, "gpu": gpus / terms.slots}),
        param_space={name: tune.grid_search(list(dict.fromkeys(s[name] for s in GRID))) for name in GRID[0]},
        tune_config=tune.TuneConfig(metric="accuracy", mode="max", reuse_actors=reuse),
        run_config=tune.RunConfig(storage_path=f"{terms.folder}/results", name="fashion", verbose=0),
    ).fit()
    ray.shutdown()


def ray_plain(setting: dict[str, Any], terms: Terms) -> dict[str, float]:
    from tests.benchmarks import tutorial

    return {"accuracy": tutorial.train(setting, terms)}


def ray_ours(setting: dict[str, Any], terms: Terms) -> None:
    from ray import tune

    from tests.benchmarks import ours

    ours.train_for(setting, terms, lambda metrics: tune.report(metrics | {"accuracy": metrics["validation/accuracy"]}))


def optuna_joblib(terms: Terms) -> None:
    import joblib
    import optuna

    study = optuna.create_study(storage=_journal(terms), study_name="fashion", direction="maximize")
    for setting in GRID:
        study.enqueue_trial(setting)
    joblib.Parallel(n_jobs=terms.slots, batch_size=1)(joblib.delayed(optimize_one)(terms) for _ in GRID)


def optimize_one(terms: Terms) -> None:
    import optuna

    from tests.benchmarks import tutorial

    def objective(trial: optuna.Trial) -> float:
        setting = {
            "lr": trial.suggest_categorical("lr", LRS),
            "batch_size": trial.suggest_categorical("batch_size", BATCH_SIZES),
            "shuffle": trial.suggest_categorical("shuffle", SHUFFLES),
        }
        return tutorial.train(setting, terms)

    optuna.load_study(storage=_journal(terms), study_name="fashion").optimize(objective, n_trials=1)


def _journal(terms: Terms) -> Any:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    return optuna.storages.JournalStorage(JournalFileBackend(f"{terms.folder}/journal.log"))


def hydra_joblib(terms: Terms) -> None:
    import hydra
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="fashion", node={**GRID[0], "terms": terms.packed()})
    swept = [f"{name}={','.join(dict.fromkeys(str(setting[name]) for setting in GRID))}" for name in GRID[0]]
    own = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={terms.slots}", f"hydra.sweep.dir={terms.folder}/multirun"]
    sys.argv[1:] = ["--multirun", *own, *swept]
    hydra.main(version_base="1.3", config_path=None, config_name="fashion")(hydra_plain)()


def hydra_plain(given: Any) -> float:
    from tests.benchmarks import tutorial

    return tutorial.train({name: given[name] for name in GRID[0]}, unpacked(given.terms))


SIDES: dict[str, Callable[[Terms], None]] = {
    "plain": plain,
    "ray": functools.partial(ray_tune, reuse=False),
    "ray-reuse": functools.partial(ray_tune, reuse=True),
    "optuna": optuna_joblib,
    "hydra": hydra_joblib,
}


def run(key: str, terms: Terms) -> None:
    SIDES[key](terms)


if __name__ == "__main__":
    # By its name and not as __main__, so that the workers import these functions rather than being sent them.
    from tests.benchmarks.contenders import run

    run(sys.argv[1], unpacked(sys.argv[2]))
