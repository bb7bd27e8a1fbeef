"""What an objective may give as a state: it comes back exactly after a real kill, or is refused and nothing was written.

One sweep has a trial for each case. Each reports step 1 with a sound state, then step 2 with the case's state, and kills its own
worker with SIGKILL. The next attempt compares what `trial.state` gives with the state, made anew, bit for bit.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import run_sweep
from tests.support.reading import records, scalars
from tests.support.studies import study_text, write_study

pytestmark = pytest.mark.slow
CASES = Path(__file__).with_name("states.py")
KEPT = [
    "none",
    "bools",
    "ints",
    "int_of_600_digits",
    "floats",
    "nan",
    "infinities",
    "minus_zero",
    "complex",
    "text",
    "surrogates",
    "long_text",
    "bytes",
    "bytearray",
    "empty",
    "nested_100",
    "tuples",
    "sets",
    "ordered_dict",
    "counter",
    "shared_list",
    "wide_dag",
    "odd_keys",
    "nan_key",
    "tuple_key",
    "size",
    "dtype",
    "device",
    "every_dtype",
    "parameter",
    "requires_grad",
    "non_leaf",
    "buffer",
    "zero_size",
    "zero_dim",
    "not_contiguous",
    "expanded",
    "shared_storage",
    "view_of_a_large_one",
    "channels_last",
    "conj",
    "neg",
    "complex_tensor",
    "bfloat16",
    "float8",
    "sparse_coo",
    "sparse_csr",
    "quantized",
    "quantized_per_channel",
    "nested_tensor",
    "adam",
    "sgd",
    "lbfgs",
    "scheduler",
    "one_cycle",
    "plateau",
    "scaler",
    "batch_norm",
    "whole_state_dict",
    "random_states",
    "hooked",
    "large",
    "many_small",
    "a_million_numbers",
    "views_of_one_another",
    "storage_of_the_right_size",
]
REFUSED = [
    "numpy_scalar",
    "numpy_array",
    "numpy_objects",
    "numpy_state",
    "int_of_700_digits",
    "tensor_subclass",
    "jagged",
    "uninitialized",
    "lazy_module",
    "meta",
    "mkldnn",
    "zero_tensor",
    "freed_storage",
    "storage_too_small",
    "storage_too_small_for_a_view",
    "tensor_with_a_class",
    "module",
    "optimizer",
    "function",
    "lambda_",
    "generator",
    "iterator",
    "open_file",
    "lock",
    "enum_member",
    "int_enum",
    "named_tuple",
    "dataclass",
    "str_subclass",
    "float_subclass",
    "int_subclass",
    "dict_subclass",
    "list_subclass",
    "default_dict",
    "frozen_set",
    "deque",
    "range_",
    "slice_",
    "path",
    "date",
    "decimal_",
    "fraction",
    "type_",
    "module_object",
    "exception",
    "weak_reference",
    "itself",
    "itself_by_a_list",
    "nested_5000",
    "tensor_key",
    "frozen_key",
    "object_key",
    "counter_with_attributes",
    "metadata_with_a_class",
    "storage",
    "torch_generator",
    "whole_list",
    "whole_tensor",
    "whole_text",
    "mapping_that_raises",
    "proxy_of_a_class",
    "np_str",
    "memory",
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Run all cases; return what each one wrote down, with its record."""
    here = tmp_path_factory.mktemp("states")
    shutil.copy(CASES, here / "states.py")
    kinds = {"kind": [*KEPT, *REFUSED]}
    keys: dict[str, Any] = {"workers": {"devices": "cpu", "per_device": 2}, "retries": 1, "checkpoints": {"keep_best": 1000}}
    study = write_study(here, study_text(kinds, objective="states:train", stop_after_failures=1000, **keys))
    done = run_sweep("run", str(study), here=here, timeout=800)
    assert "Traceback" not in done.err
    found = {}
    for record in records(here / "runs" / "study"):
        folder = here / "runs" / "study" / record.folder
        written = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.found")}
        found[str(record.params["kind"])] = {"record": record, "points": scalars(folder), **written}
    assert len(found) == len(KEPT) + len(REFUSED)
    assert done.code == 0, done.out[-3000:]
    return found


@pytest.mark.parametrize("kind", KEPT)
def test_a_state_comes_back_exactly(kind: str, results: dict[str, dict[str, Any]]) -> None:
    """After the second report, though the worker was killed."""
    found = results[kind]
    assert found["record"].error is None
    assert found["resumed"] == {"step": 2, "difference": None}
    assert found["record"].attempts == 2
    assert [step for step, _ in found["points"]["score"]] == [1, 2, 3]


@pytest.mark.parametrize("kind", REFUSED)
def test_a_state_is_refused_before_anything_is_written(kind: str, results: dict[str, dict[str, Any]]) -> None:
    """With a TypeError that says what it is; the checkpoint of the first report is as it was, and is resumed from."""
    found = results[kind]
    assert found["record"].error is None
    assert found["refused"]["error"] == "TypeError"
    assert found["refused"]["message"].startswith(("state", "a state is", "the state cannot"))
    assert len(found["refused"]["message"]) < 1000
    assert found["refused"]["changed"] == []
    assert found["resumed"] == {"step": 1, "difference": None}
    assert [step for step, _ in found["points"]["score"]] == [1, 3]
