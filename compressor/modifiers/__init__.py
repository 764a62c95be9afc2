"""What can be done to a network: one folder for each kind of modifier."""
