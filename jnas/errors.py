"""The one exception that is a message to the user."""


class JnasError(ValueError):
    """Bad input, told in one sentence: what was wrong, which value, and what to do.

    The command line prints the sentence and exits with code 2; in Python it is an ordinary `ValueError`.
    """
