"""Which code trains a study's trials, as a digest; nothing of the user's is run to compute it.

`sweep.runner.changed_code` compares the digests of earlier trials with today's. What counts, and as what:

- A Python file of the user's: the objective's module or the command's script, and what it imports. It counts by its syntax tree,
  without docstrings, so that comments and formatting are no change.
- What is installed in the environment: by its version; Python by its minor version.
- A function that a program passes: by its syntax tree or bytecode, with the values, functions and classes that it uses.
"""
