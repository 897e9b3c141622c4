"""Many runs and their table, what a model costs, what a number is compared with."""
