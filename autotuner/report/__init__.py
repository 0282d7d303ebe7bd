"""The report of one experiment: a page, a picture and data, made from an Experiment alone."""
