"""What can go wrong because of the user, told in one line."""

from __future__ import annotations


class UserError(Exception):
    """The user can mend this. The message is one line that names the place and the mend; the CLI exits with 2."""


class StorageError(Exception):
    """The disk failed a run: full, gone or read-only. What was committed is whole; the CLI exits with 1."""


class EndpointError(Exception):
    """A model that is not ours failed to answer. The run can be resumed once it does; the CLI exits with 1."""
