"""Tests of `sweep.search`."""
