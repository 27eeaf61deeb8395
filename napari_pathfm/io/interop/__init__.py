"""Files that other programs read and write, one format a file."""
