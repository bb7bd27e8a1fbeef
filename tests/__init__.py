"""The tests; each one's docstring states the behaviour."""
