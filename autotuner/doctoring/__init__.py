"""Looks at everything that the daemon needs, and says how to mend what is amiss."""
