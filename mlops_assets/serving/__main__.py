"""``python -m mlops_assets.serving``: serve a package in the foreground, or supervise an endpoint."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mlops_assets.serving", description="Serve a packaged model over HTTP.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--package", type=Path, metavar="DIR", help="serve this package folder in the foreground")
    what.add_argument("--endpoint", type=Path, metavar="DIR", help="supervise the server of this endpoint folder")
    what.add_argument("--serve", type=Path, metavar="DIR", help=argparse.SUPPRESS)
    parser.add_argument("--supervisor", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--host", default="127.0.0.1", help="address of --package (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port of --package (default: %(default)s)")
    parser.add_argument("command", nargs="?", choices=["serve"], help="the word that SageMaker appends; it changes nothing")
    given = parser.parse_args(arguments)
    # A supervisor stamps the lines of its server itself.
    stamp = "" if given.serve else "%(asctime)s "
    logging.basicConfig(level=logging.INFO, format=f"{stamp}%(levelname)s %(message)s", stream=sys.stderr)
    if given.endpoint is not None:
        from mlops_assets.serving.supervisor import Supervisor

        return Supervisor(given.endpoint).run()
    from mlops_assets.serving.server import serve_endpoint, serve_package

    if given.package is not None:
        return serve_package(given.package, given.host, given.port)
    return serve_endpoint(given.serve, given.supervisor)


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    # The server's own threads may still call into Python; an interpreter that is torn down under them aborts.
    os._exit(status)
