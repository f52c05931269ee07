"""The ``permfc`` command: thin, one file a subcommand; every subcommand has a Python function behind it."""
