"""The report: figures, terminal tables and static pages, drawn from records and tables alone."""
