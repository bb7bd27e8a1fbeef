"""The verbs of the command line, in the order of use. Everything heavy is imported inside the verb that needs it."""
