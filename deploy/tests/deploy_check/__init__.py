"""Checks of the manifests under deploy/: what a cluster would refuse, and what it would accept and then not do."""
