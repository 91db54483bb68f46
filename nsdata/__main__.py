"""`python -m nsdata`: the command line."""

from nsdata.cli import main

if __name__ == "__main__":
    main()
