"""When and in what order: one flow a file, each a list to read."""
