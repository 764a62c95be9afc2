"""Reports and comparisons of results, as Markdown, HTML, pictures and text."""
