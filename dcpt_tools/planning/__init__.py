"""The command that estimates what a training costs."""
