"""`python -m tests.benchmarks`: every measurement in one run, as a table of ratios; `… public`: the public logs at their size."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import made, peer, public, scan, whole
from tests.benchmarks.table import Row, rendered


def main(arguments: list[str] | None = None) -> None:
    """Measure what is asked for and print it."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["public"]:
        public.main(arguments[1:])
        return
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--scan", type=int, default=33_000, help="leaves of the scan step (default %(default)s)")
    parser.add_argument("--small", type=int, default=10_000, help="leaves of the small v2 log (default %(default)s)")
    parser.add_argument("--large", type=int, default=200_000, help="leaves of the large v2 log (default %(default)s)")
    parser.add_argument("--v1", type=int, default=10_000, help="leaves of the v1 log (default %(default)s)")
    parser.add_argument("--delay", type=float, default=0.1, help="seconds before each v1 answer (default %(default)s)")
    parser.add_argument("--folder", type=Path, help="where logs are made (default: a temporary folder)")
    asked = parser.parse_args(arguments)
    rows: list[Row] = scan.rows(asked.scan)
    scanned = rows[-1].rate or 1.0
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        small, large = (whole.made_log(folder, size) for size in (asked.small, asked.large))
        rows += whole.rows_v2(small, large, scanned)
        ours = next(row.rate or 1.0 for row in reversed(rows) if row.rate)
        rows += whole.rows_v1(folder, asked.v1, asked.delay)
        rows += peer.rows(small, folder, ours)
    sys.stdout.write(
        f"{rendered(rows)}\n\nleaves: {len(made.templates())} recorded ones, each with a digest of its own; "
        "rates are of this machine, now\n"
    )


if __name__ == "__main__":
    main()
