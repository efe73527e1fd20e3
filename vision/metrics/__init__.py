"""How good masks are, and whether one model is better than another."""
