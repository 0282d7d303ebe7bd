"""The decoder's small operations: plain torch everywhere, compiled code where it pays."""
