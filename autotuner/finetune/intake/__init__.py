"""Takes files of examples into the store: checked, cleaned, without duplicates."""
