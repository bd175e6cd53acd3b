"""The built-in plugins. They come in by the same door as everybody else's: the entry points of pyproject.toml."""
