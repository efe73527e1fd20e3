"""What people touch: the `segmill` command."""
