"""`python -m sweep` is `sweep`."""

from sweep.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
