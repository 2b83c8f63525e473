"""`python -m nosce` is the command `nosce`."""

from nosce.cli import main

main()
