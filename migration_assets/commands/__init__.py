"""What can be typed after `migration-assets`: arguments and output around `operations`."""
