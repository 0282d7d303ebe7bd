"""`autotuner demo`: the whole loop on this machine, with a real model, in one terminal."""
