"""`python -m causeway`: the same as the `causeway` command."""

from causeway.cli import main

main()
