"""The commands, one module a subject; importing this package registers them all on the group."""

from jobs.commands import datasets, issues, kitti, lines, servers, surfaces

__all__ = ["datasets", "issues", "kitti", "lines", "servers", "surfaces"]
