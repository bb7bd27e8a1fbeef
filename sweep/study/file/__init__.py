"""The study file: read, checked whole, resolved; written back beside the results. Called by `cli`, `api` and `storage`.

    text --source.py--> plain data with lines --schema.py--> typed keys --checks.py, metrics.py--> StudySpec --writing.py--> text

Every key is checked on its own and only then the keys together, so that one problem does not hide another.
"""
