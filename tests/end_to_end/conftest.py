"""A Ray cluster for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.clusters import Cluster, cluster


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    """A cluster without a node; each test adds its own."""
    with cluster() as found:
        yield found
