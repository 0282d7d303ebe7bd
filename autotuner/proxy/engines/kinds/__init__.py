"""The servers that the proxy knows: their flags, and how they tell what they are."""
