"""Model families: the networks, and how their files become networks."""
