# Access for people: the administrators of the cluster, and the machine that forwards to an API without a public address.

# The person who applies this must be one of them; otherwise the bootstrap of Argo CD is refused.
resource "aws_eks_access_entry" "admin" {
  for_each = var.cluster_admins

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = each.value
}

resource "aws_eks_access_policy_association" "admin" {
  for_each = aws_eks_access_entry.admin

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = each.value.principal_arn
  policy_arn    = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"

  access_scope {
    type = "cluster"
  }
}

# --- A machine that Session Manager forwards ports through. It accepts no connections: its agent connects to AWS, which checks each
# caller (ssm:StartSession) and logs the session. bootstrap/way-in.sh uses it.

resource "aws_iam_instance_profile" "way_in" {
  count = local.private_api ? 1 : 0

  name = "${local.name}-way-in"
  role = aws_iam_role.service["way-in"].name
}

resource "aws_launch_template" "way_in" {
  count = local.private_api ? 1 : 0

  name_prefix            = "${local.name}-way-in-"
  update_default_version = true
  image_id               = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
  instance_type          = "t4g.nano"
  vpc_security_group_ids = [aws_security_group.this["way-in"].id]

  iam_instance_profile {
    arn = aws_iam_instance_profile.way_in[0].arn
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_type = "gp3"
      volume_size = 8
      encrypted   = true
    }
  }

  tag_specifications {
    resource_type = "instance"
    tags          = { Name = "${local.name}-way-in" }
  }
}

resource "aws_instance" "way_in" {
  #checkov:skip=CKV_AWS_8:The launch template encrypts its disk
  #checkov:skip=CKV_AWS_79:The launch template requires tokens
  #checkov:skip=CKV_AWS_126:It forwards a few connections a week; its minutes are of no interest
  #checkov:skip=CKV_AWS_135:EBS-optimised, as every machine of its generation is
  #checkov:skip=CKV2_AWS_41:The launch template gives it its role
  count = local.private_api ? 1 : 0

  subnet_id = values(aws_subnet.private)[0].id

  launch_template {
    id      = aws_launch_template.way_in[0].id
    version = aws_launch_template.way_in[0].latest_version
  }

  depends_on = [aws_iam_role_policy_attachment.service, aws_route.private_nat]
}
