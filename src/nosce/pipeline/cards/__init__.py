"""`nosce card`: several studies on one model, a question each, on one page."""
