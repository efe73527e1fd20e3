"""The processes of `segmill up`: started together, watched, stopped together."""
