"""The ComfyUI door: thin adapters over ``gpen_arch``.

The core is imported relatively, so that this folder works only as part of its pack: imported as a
top-level ``nodes`` it would take the place of ComfyUI's own module of that name, and must fail.
"""

from ..gpen_arch import errors as errors
