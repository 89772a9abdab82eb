"""`python -m attnrobust`."""

from attnrobust import stack

# Where nothing is installed, the import below would end in a traceback.
if lacking := stack.unfit():
    raise SystemExit(f"error: {lacking}")

from attnrobust.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
