"""A driver of CUDA without a GPU, for tests of who starts CUDA: a `libcuda.so.1` that writes down each `cuInit`, and refuses it.

Programs load it in place of NVIDIA's where the folder is in LD_LIBRARY_PATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_SOURCE = r"""
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int cuInit(unsigned int flags) {
  char line[32];
  int length = snprintf(line, sizeof line, "%d\n", getpid());
  int file = open(CALLS, O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (file < 0 || write(file, line, length) != length) return 999;
  close(file);
  return 100; /* CUDA_ERROR_NO_DEVICE */
}

int cuDriverGetVersion(int *version) {
  *version = 13000;
  return 0;
}

static int any(void) { return 100; } /* the runtime wants every function to be there */

int cuGetProcAddress_v2(const char *name, void **address, int version, unsigned long long flags, void *status) {
  int starts = !strcmp(name, "cuInit"), tells = !strcmp(name, "cuDriverGetVersion"), finds = !strncmp(name, "cuGetProc", 9);
  *address = starts ? (void *)cuInit : tells ? (void *)cuDriverGetVersion : finds ? (void *)cuGetProcAddress_v2 : (void *)any;
  return 0;
}
"""


class CudaDriver:
    """The driver in a folder.

    Args:
        folder: where it is built; programs find it with `variables`.

    Attributes:
        variables: of a program that is to load this driver.
    """

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("no C compiler is installed: the driver that writes down calls cannot be built")
        self._calls = folder / "calls"
        source, library = folder / "driver.c", folder / "libcuda.so.1"
        source.write_text(_SOURCE.replace("CALLS", f'"{self._calls}"'))
        subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
        paths = [str(folder), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        self.variables = {"LD_LIBRARY_PATH": ":".join(paths)}

    def started_by(self) -> list[int]:
        """Return the processes that have called `cuInit` so far, once for each call."""
        return list(map(int, self._calls.read_text().split())) if self._calls.exists() else []
