"""Tests of `sweep.storage`."""
