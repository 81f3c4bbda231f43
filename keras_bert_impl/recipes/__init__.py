"""Complete jobs, each as one function."""
