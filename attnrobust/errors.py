"""The one exception that ends a command in a single clear line."""


class UserError(Exception):
    """Something the user can mend: a file, a row, an option.

    The message is one line that names the file, row or option and what was expected. The command
    line prints it without a traceback and exits with code 1 (`--debug` shows the traceback).
    """


class UsageError(UserError):
    """The command itself is wrong, whatever there is on disk: it exits with code 2."""


class Unfinished(UserError):
    """A stage's result is not there, or was made of other than what is there now."""
