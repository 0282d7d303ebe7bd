"""Does the daemon find, on the real worker, what a full sweep of the same grid finds?"""
