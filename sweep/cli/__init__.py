"""The command line: the verbs, and what they print; every error that a user can meet becomes a message and an exit code."""
