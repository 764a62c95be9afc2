"""A run of a recipe: from its weights to its folder."""
