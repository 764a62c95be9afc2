"""`python -m compressor` is the `compressor` command."""

from compressor.cli.interrupts import exit_at_once
from compressor.cli.streams import prepare_streams


def main() -> None:
    """Run the command line; see `compressor.cli.main.main`."""
    exit_at_once()
    prepare_streams()
    from compressor.cli.main import main as run  # noqa: PLC0415  # only now may Ctrl-C come

    run()


if __name__ == "__main__":
    main()
