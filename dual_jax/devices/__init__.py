"""The devices that JAX runs on: mesh, exchanges between them, and the table of known kinds."""
