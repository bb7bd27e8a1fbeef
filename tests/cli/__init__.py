"""Tests of `sweep.cli`."""
