"""How an exported file is known as one."""

EXPORTED_BY = "exported_by"  # the key under which it says so
