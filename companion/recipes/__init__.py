"""The experiments of the ADOPT paper: one file each, every setting in it, one code path a scale."""
