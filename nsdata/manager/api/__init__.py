"""HTTP: what may be asked by whom. Deciding and storing is done elsewhere."""
