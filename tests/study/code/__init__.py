"""Tests of `sweep.study.file`."""
