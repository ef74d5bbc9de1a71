"""What reading a log takes, whatever the log holds: order, pace, tiles. Nothing here knows what a leaf says."""
