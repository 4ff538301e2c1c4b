# A shop: the job on a machine with a fixed name and address. Sizes are the variables' defaults.
environment = "prod"
runtime     = "gce"

# From infra-aws, after its second apply (README.md there, "Two clouds, four applies"): aws = { … }

# Set your own. This is an example without a mailbox.
alert_email = "operations@example.com"
