"""What the other commands do, each under the name of its command."""
