"""Entry point: `python -m src.resume RUN` goes on with a run, by its own config."""

import argparse
import sys
from pathlib import Path

from src import train
from src.overrides import override

EPILOG = """Overrides may lengthen the run (trainer.epochs=20), say where its data are now
(data.root=DIR), and change logger and trainer.checkpoint_every."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m src.resume",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("overrides", nargs="*", default=[], help="KEY=VALUE")
    given = parser.parse_args()
    sys.argv[1:] = [override("resume", str(given.run)), *given.overrides]
    train.main()


if __name__ == "__main__":
    main()
