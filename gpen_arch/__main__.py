"""``python -m gpen_arch``."""

from .cli import main

raise SystemExit(main())
