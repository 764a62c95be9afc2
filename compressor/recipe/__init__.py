"""Text to data: a recipe file becomes a checked `Recipe`."""
