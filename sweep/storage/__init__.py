"""One study's folder: its paths, database, lock, and what is kept there.

Called by the runner, the report and the command line.
"""
