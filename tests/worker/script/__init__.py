"""Tests of `sweep.worker.script`."""
