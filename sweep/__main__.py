"""`python -m sweep` runs the program `sweep`."""

from sweep.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
