"""``python -m adaptive_spec``: the command, where its script is not on the path."""

from adaptive_spec.cli import main

if __name__ == "__main__":
    main()
