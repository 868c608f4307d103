"""The exception whose message is for the user."""


class JnasError(ValueError):
    """An input that cannot be used, told in one sentence: what it must be, which value it has, and what to do.

    The command line prints the sentence and exits with code 2. In Python it is an ordinary `ValueError`.
    """
