"""What we know of the cluster: the objects, the store they are kept in, the sources they come from."""
