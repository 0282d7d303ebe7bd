"""The command line's groups: each parses words, calls one thing, prints, and knows no more."""
