"""How sharp faces become the poor ones that a restorer learns from."""
