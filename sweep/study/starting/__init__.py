"""A first study file for what a user has: its values are proposed here; who asks a program is `sweep.worker.script.asking`.

declared    the parameters that a program or a function has
reading     what a Python file shows: its functions of a trial, the metrics that it reports, whether it writes files
proposals   which parameters are swept, and their values
text        the file, with a comment for each choice
"""
