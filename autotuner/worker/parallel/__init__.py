"""One replica over several processes: ranks that split layers (tensor), and stages (pipeline)."""
