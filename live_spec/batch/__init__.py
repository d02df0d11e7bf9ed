"""Work on whole archives: what belongs together, in which order, and who does it."""
