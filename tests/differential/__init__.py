"""The same bytes played to our server and to the real one, and the answers compared."""
