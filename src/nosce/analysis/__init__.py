"""From readings to verdicts, figures and pages; nothing here imports torch."""
