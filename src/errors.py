"""What a user did wrong, said in one line."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends a run as Ctrl-C does, but with its own exit status."""


class InputError(ValueError):
    """A mistake in what the user gave; its text names the value and what is allowed."""
