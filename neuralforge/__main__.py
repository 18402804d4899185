"""``python -m neuralforge``: the same program as the installed command."""

from neuralforge.cli.app import main

main()
