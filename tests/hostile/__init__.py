"""Hostile cases: what machines, users and their code do to a sweep, against the promises that must hold.

One file for each group of cases. Each case does one thing to the real program, with real processes and files, and checks what is
promised: right numbers, nothing lost that was stored, a clear message, an exit code, an end. They take minutes, so all are slow.
"""
