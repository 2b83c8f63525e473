"""The command line: parse, call one function, turn our errors into one sentence and an exit code."""

from nosce.cli.app import app as app
from nosce.cli.entry import exit_code_of as exit_code_of
from nosce.cli.entry import main as main
