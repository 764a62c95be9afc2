"""Every error code: why its rule exists, what breaks it, and how to mend that."""
