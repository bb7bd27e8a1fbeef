"""Tests of whole sweeps: interrupted, resumed, and under faults."""
