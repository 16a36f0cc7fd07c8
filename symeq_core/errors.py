"""Errors a person can act on: each message is one sentence that names the thing and the way out."""


class SymeqError(Exception):
    """Something failed; the command line exits with 1."""


class UsageError(SymeqError):
    """Something was asked for in the wrong way; the command line exits with 2."""
