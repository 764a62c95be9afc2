"""Results to pages: reports and comparisons."""
