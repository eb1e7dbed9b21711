"""The commands, one module a subject; importing this package registers them all on the group."""

from jobs.commands import datasets, dev, issues, kitti, lines, notify, servers, surfaces, webhook

__all__ = ["datasets", "dev", "issues", "kitti", "lines", "notify", "servers", "surfaces", "webhook"]
