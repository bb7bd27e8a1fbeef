"""The recipes for a cluster: what of them can be checked without one."""

from __future__ import annotations

import json
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from tests.conftest import REPOSITORY

RECIPES = REPOSITORY / "studies" / "cluster"
# The keys of KubeRay's RayJob that a recipe may use, and those of the groups of its cluster.
JOB = {"entrypoint", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "backoffLimit", "rayClusterSpec"}
CLUSTER = {"rayVersion", "enableInTreeAutoscaling", "autoscalerOptions", "headGroupSpec", "workerGroupSpecs"}
GROUP = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}


def documents(name: str) -> list[dict[str, Any]]:
    return list(YAML(typ="safe").load_all((RECIPES / name).read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.sh")), ids=lambda path: path.stem)
def test_a_script_can_be_read(path: Path) -> None:
    """By the shell that its first line names."""
    shell = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("#!/bin/")
    done = subprocess.run([shell, "-n", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_job_of_kubernetes() -> None:
    """It has the keys of a RayJob; its volume is the one that is made with it."""
    job, volume = documents("kuberay.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert set(job["spec"]) == JOB
    cluster = job["spec"]["rayClusterSpec"]
    assert set(cluster) == CLUSTER
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert all(set(group) <= GROUP for group in groups)
    pods = [group["template"]["spec"] for group in groups]
    assert len({pod["containers"][0]["image"] for pod in pods}) == 1
    assert pods[0]["volumes"][0]["persistentVolumeClaim"]["claimName"] == volume["metadata"]["name"]


def test_the_clouds_machines() -> None:
    """The file is what Ray's own schema asks for."""
    spec = find_spec("ray")
    if spec is None or spec.origin is None:
        pytest.skip("Ray is not installed: pip install '.[ray]'")
    schema = json.loads((Path(spec.origin).parent / "autoscaler" / "ray-schema.json").read_text(encoding="utf-8"))
    (found,) = documents("autoscaler.yaml")
    jsonschema.validate(found, schema)
    assert found["head_node_type"] in found["available_node_types"]
