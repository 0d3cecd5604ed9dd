"""The commands of `dcpt`, one module each. They may import all other packages of this project."""
