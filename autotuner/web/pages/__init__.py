"""The daemon's own web page: HTML made here, with one style sheet and one script of its own."""
