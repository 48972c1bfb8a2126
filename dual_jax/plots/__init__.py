"""Maps of a pool, diagnostics of a fit, and the report page."""
