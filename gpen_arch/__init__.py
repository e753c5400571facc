"""GPEN face restoration and RealESRNet upscaling: torch in, torch out."""
