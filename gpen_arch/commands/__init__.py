"""The command line's subcommands: each adds its parser and handles what it parsed.

A handler takes the parsed arguments and returns the exit code; a GpenError is the caller's to show.

The modules here import what they need at their top, like all others. They are heavy, torch comes
with them: :mod:`gpen_arch.cli` imports them only when it runs, so that Ctrl-C during the imports is
an interruption like any other. What only an extra of the package installs is imported by the room
that needs it, when it needs it.

What is asked of several commands is defined once: options in ``options``, all that is shown in
``terminal``, the fetching of weights in ``fetching``.
"""
