"""From a study to finished steps: the plan, who makes which step when, and what people see of it."""
