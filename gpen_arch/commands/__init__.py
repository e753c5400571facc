"""The command line's subcommands: each adds its parser and handles what it parsed.

A handler takes the parsed arguments and returns the exit code; a GpenError is the caller's to show.
"""
