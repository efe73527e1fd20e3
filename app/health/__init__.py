"""Is everything there that the engine needs? One subject a file; each gives findings."""
