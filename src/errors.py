"""What a user did wrong, said in one line."""


class InputError(ValueError):
    """A mistake in what the user gave; its text names the value and what is allowed."""
