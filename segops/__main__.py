"""``python -m segops``: the command line, where its script is not on the path."""

from segops.cli import main

if __name__ == "__main__":
    main()
