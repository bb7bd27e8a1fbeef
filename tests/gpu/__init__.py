"""Every promise, on a GPU: `pytest -m gpu`. Nothing here has run on one yet.

`offline.sh` runs the suite on a machine without a network.
"""
