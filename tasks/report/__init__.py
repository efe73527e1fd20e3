"""The report of a run: `data` are its figures, `gather` finds them, `render` makes the page."""
