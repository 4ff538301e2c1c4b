# A shop: the job on a machine that is always the same one. Sizes are the variables' defaults.
environment = "prod"
runtime     = "gce"

# From infra-aws, once it knows this side (README.md, "Two clouds, four applies"):
# aws = { … }

# Yours. This is an example without a mailbox.
alert_email = "operations@example.com"
