#!/usr/bin/env bash
# Run `pytest -m gpu` on a machine that has a GPU and a Python with torch, torchvision and TensorBoard, but no network.
#
#   tests/gpu/offline.sh prepare [PYTHON_VERSION]   with a network, in a clone: makes .gpu/ (about 45 MB), for Python 3.12 if not said
#   tests/gpu/offline.sh [WORDS OF PYTEST]          there, in the same folder brought along: runs the suite
#
# It writes its log, what nvidia-smi says and the doctor's answer to $OUT (a folder; .gpu/out if not set). Nothing is installed
# on that machine: the packages are unpacked into a temporary folder. Nothing of it has run on a GPU yet.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ "${1:-}" = prepare ]; then
  version=${2:-3.12}
  mkdir -p .gpu/packages .gpu/fashion-mnist
  # Pure Python, or built for any Linux of the last years; torch's own packages are too large, and the machine has them.
  python3 -m pip download -q --no-deps --only-binary=:all: --python-version "$version" --implementation cp \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d .gpu/packages \
    optuna alembic mako colorlog sqlalchemy greenlet cloudpickle click pydantic pydantic_core annotated_types typing_extensions \
    typing_inspection ruamel.yaml rich markdown-it-py mdurl pygments nvidia-ml-py jinja2 markupsafe joblib \
    pytest iniconfig pluggy pytest-timeout pytest-xdist execnet psutil hypothesis sortedcontainers
  python3 - <<'PYTHON'
import gzip, pathlib
from sweep.objectives import datasets
root = datasets.cache_root()
list(datasets.fetch("fashion_mnist", root))
for name in datasets.FILES:
    data = (datasets.raw_folder("fashion_mnist", root) / name).read_bytes()
    pathlib.Path(".gpu/fashion-mnist", f"{name}.gz").write_bytes(gzip.compress(data))
PYTHON
  du -sh .gpu
  exit
fi

out=$(realpath -m "${OUT:-.gpu/out}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out" "$work/data/FashionMNIST/raw"
python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$work/packages" .gpu/packages/*.whl
for file in .gpu/fashion-mnist/*.gz; do gunzip -c "$file" > "$work/data/FashionMNIST/raw/$(basename "$file" .gz)"; done
export PYTHONPATH=$PWD:$work/packages PYTHONUNBUFFERED=1 SWEEP_DATA=$work/data
{ nvidia-smi; nvidia-smi -q | grep -iE 'persistence|compute mode|mig'; } > "$out/nvidia-smi.txt" 2>&1 || true
python3 -m sweep doctor > "$out/doctor.txt" 2>&1 || true
python3 -m pytest -m gpu -n 0 -rA --durations 0 -p no:cacheprovider "$@" 2>&1 | tee "$out/pytest.txt"
