"""One item of a result: what was trained on about it, what models were asked and answered, what was read inside."""
