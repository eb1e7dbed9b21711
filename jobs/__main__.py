"""`python -m jobs` is the command `mlops`."""

from jobs.command_line import main

if __name__ == "__main__":
    main()
