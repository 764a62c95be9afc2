"""Recipe and model to plan: which layers each step touches."""
