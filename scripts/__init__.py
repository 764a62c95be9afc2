"""What is run by hand or by make; each file says how."""
