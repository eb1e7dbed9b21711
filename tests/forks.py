"""Forks of the test process, which has threads."""

from __future__ import annotations

import gc
import os


def forked() -> int:
    """``os.fork()``, after which the child never collects what the parent made.

    An ONNX session that an earlier test left among the garbage would wait, when it is collected in the child, for threads that
    only the parent has, and so for ever.
    """
    child = os.fork()
    if child == 0:
        gc.freeze()
    return child
