"""The pictures of the IMAGES tab, whatever is to be shown."""

from __future__ import annotations

import numpy as np
import pytest

from sweep.tensorboard.figures import confusion_matrix, image_grid


def test_a_cell_has_the_colour_of_its_share() -> None:
    """Of the true class: rows with one sample and with a thousand look alike."""
    counts = np.array([[1000, 0], [0, 1]])
    many, few = (confusion_matrix(counts * factor, ["a", "b"], numbers=False) for factor in (1, 100))
    assert np.array_equal(many, few)
    colours, places = np.unique(many.reshape(-1, 3), axis=0, return_counts=True)
    darkest = colours.sum(axis=1) == colours.sum(axis=1)[places > 1000].min()
    assert places[darkest].sum() >= 2 * 48 * 48  # two cells


def test_the_numbers_are_drawn_where_they_are_wanted() -> None:
    """In white on dark cells."""
    counts = np.array([[90, 10], [5, 95]])
    plain, numbered = (confusion_matrix(counts, ["a", "b"], numbers=numbers) for numbers in (False, True))
    differs = np.argwhere((plain != numbered).any(axis=2))
    assert len(differs) > 20
    assert (numbered[tuple(differs.T)] > 240).all(axis=1).any()


@pytest.mark.parametrize("classes", [1, 2, 30, 100, 1500])
def test_a_matrix_is_not_larger_than_a_screen(classes: int) -> None:
    """Names are left out where there is no room for them."""
    picture = confusion_matrix(np.eye(classes, dtype=int) * 10**7, [f"class {number}" for number in range(classes)], numbers=True)
    assert max(picture.shape) < max(1400, classes + 150)
    assert picture.dtype == np.uint8


def test_odd_names_are_drawn() -> None:
    """On one line, and shortened: a line break in a name, no name, a very long one, letters of other alphabets."""
    names = ["a\nb\rc", "", "x" * 2000, "кот"]
    assert max(confusion_matrix(np.ones((4, 4), dtype=int), names, numbers=True).shape) < 800
    images = np.zeros((4, 8, 8, 3), dtype=np.uint8)
    assert (
        image_grid(images, [f"{name}\ntaken for {name}" for name in names]).shape == image_grid(images, ["a\nb\nc\nd"] * 4).shape
    )


@pytest.mark.parametrize(("height", "width"), [(1, 1), (28, 28), (300, 200), (5000, 1), (1, 5000)])
def test_images_of_any_size_have_a_grid(height: int, width: int) -> None:
    """Small ones are enlarged without being blurred."""
    images = np.zeros((9, height, width, 3), dtype=np.uint8)
    images[0] = 255
    picture = image_grid(images, None)
    assert picture.shape[1] == 8 * (112 + 16)
    assert picture.shape[0] < 2 * (3 * 112 + 20)
    assert set(np.unique(picture)) == {0, 255}
