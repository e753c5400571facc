"""Speed and memory on the machine at hand: what ``gpen benchmark`` measures."""
