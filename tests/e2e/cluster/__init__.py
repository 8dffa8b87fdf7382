"""A real Kubernetes cluster on one machine, each node a network namespace; see README.md beside."""
