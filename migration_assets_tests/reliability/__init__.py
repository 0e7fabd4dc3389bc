"""Long and rough runs: the soak and what it measures."""
