"""Objectives that come with the package: `fashion_mnist` for real, `toy` for trying things out."""
