"""Tests of `sweep.runner`."""
