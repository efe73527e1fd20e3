"""The recipe of the demo models: SAM 2 and CLIP trained from scratch on generated pages."""
