"""The commands of `dcpt`, a module each: what is typed, what is printed, how it ends. They may import all of ours."""
