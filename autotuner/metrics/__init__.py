"""Where numbers come from: a scrape becomes a snapshot, two snapshots become a window."""
