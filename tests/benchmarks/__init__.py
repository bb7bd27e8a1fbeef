"""Benchmarks: run by hand, printed as tables, never asserted in a test."""
