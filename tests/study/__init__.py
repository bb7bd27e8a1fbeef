"""Tests of `sweep.study`."""
