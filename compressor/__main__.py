"""`python -m compressor` is the `compressor` command."""

from compressor.cli.main import main

main()
