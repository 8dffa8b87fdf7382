"""The `causeway` command, and what spans both halves: explaining a path, and the demo cluster."""
