# A shop: the job on two machines that are always the same two. Sizes are the variables' defaults.
environment = "prod"
runtime     = "gce"

# From infra-aws, once it knows this side (README.md, "Two clouds, four applies"):
# aws = { … }
