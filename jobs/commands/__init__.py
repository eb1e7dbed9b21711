"""The commands, one module a subject; importing this package registers them all on the group, in the order of `--help`."""

from jobs.commands import datasets, issues, lines, servers, surfaces

# isort: split
from jobs.commands import dev

__all__ = ["datasets", "dev", "issues", "lines", "servers", "surfaces"]
