"""A study and its trials as values, without anything that runs, stores or draws them.

Called by every other package; calls only `sweep.errors`. `file` reads and writes the study file, and `code` tells
what code trains the trials.
"""
