"""Tests of `sweep.report`."""
