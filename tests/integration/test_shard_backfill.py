"""A backfill over the shards of a KITTI version as the daemon carries it out, with one file damaged."""

from __future__ import annotations


