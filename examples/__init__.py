"""Worlds to try the engine on: generated comic pages and the models trained on them."""
