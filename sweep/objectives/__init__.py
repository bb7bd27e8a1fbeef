"""The objectives that come with the package. A study file names one: `objective: sweep.objectives.toy:train`.

Called by the worker that trains a trial, like anybody's own objective. The objectives use the trial handle and the panels that
it has, and nothing else of the package.

    toy               no data and no torch, for a first try and for tests
    fashion_mnist     a small network on FashionMNIST: training and evaluation
    networks          its models, optimizers and precisions, by name
    convolution       the first layers of the CNN as one, faster on a CPU
    datasets, images  the data: downloaded and checked; as tensors, split
"""
