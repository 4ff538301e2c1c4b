# The rights of the cluster's operators: AWS's own add-ons, and those that Argo CD installs (helm/argocd). Each has a role of its
# own by Pod Identity, for the namespace and service account of its chart.

locals {
  operators = merge(
    {
      alertmanager                 = { namespace = "monitoring", service_account = "monitoring-alertmanager", managed = null }
      aws-load-balancer-controller = { namespace = "kube-system", service_account = "aws-load-balancer-controller", managed = null }
      cluster-autoscaler           = { namespace = "kube-system", service_account = "cluster-autoscaler", managed = null }
      external-secrets             = { namespace = "external-secrets", service_account = "external-secrets", managed = null }
      traces                       = { namespace = "observability", service_account = "opentelemetry-collector", managed = null }
      aws-ebs-csi-driver           = { namespace = "kube-system", service_account = "ebs-csi-controller-sa", managed = "service-role/AmazonEBSCSIDriverPolicy" }
      pod-logs                     = { namespace = "amazon-cloudwatch", service_account = "cloudwatch-agent", managed = "CloudWatchAgentServerPolicy" }
      vpc-cni                      = { namespace = "kube-system", service_account = "aws-node", managed = "AmazonEKS_CNI_Policy" }
    },
    var.domain == null ? {} : {
      external-dns = { namespace = "kube-system", service_account = "external-dns", managed = null }
    },
  )

  operator_policies = merge(
    {
      alertmanager                 = local.alertmanager_policy
      aws-load-balancer-controller = local.load_balancer_policy
      cluster-autoscaler           = local.autoscaler_policy
      external-secrets             = local.external_secrets_policy
      traces                       = local.traces_policy
    },
    var.domain == null ? {} : { external-dns = local.external_dns_policy },
  )

  alertmanager_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "TellsPeople"
        Effect   = "Allow"
        Action   = "sns:Publish"
        Resource = aws_sns_topic.alarms.arn
      },
      {
        Sid       = "TheTopicsKey"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = aws_kms_key.this["logs"].arn
        Condition = { StringEquals = { "kms:ViaService" = "sns.${var.region}.amazonaws.com" } }
      },
    ]
  })

  external_secrets_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "SecretsOfTheServices"
        Effect = "Allow"
        Action = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]
        Resource = concat(
          [aws_db_instance.this.master_user_secret[0].secret_arn, aws_secretsmanager_secret.kafka["services"].arn],
          [for secret in aws_secretsmanager_secret.database : secret.arn],
          [for secret in aws_secretsmanager_secret.given : secret.arn],
        )
      },
      {
        Sid      = "TheirKeys"
        Effect   = "Allow"
        Action   = "kms:Decrypt"
        Resource = [aws_kms_key.this["data"].arn, aws_kms_key.this["streaming"].arn]
        Condition = {
          StringEquals = { "kms:ViaService" = "secretsmanager.${var.region}.amazonaws.com" }
        }
      },
    ]
  })

  # Nodes are added and removed in the group that EKS marked as this cluster's.
  autoscaler_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        # Describing has no resources.
        Sid    = "Looks"
        Effect = "Allow"
        Action = [
          "autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeAutoScalingInstances", "autoscaling:DescribeLaunchConfigurations",
          "autoscaling:DescribeScalingActivities", "autoscaling:DescribeTags",
          "ec2:DescribeImages", "ec2:DescribeInstanceTypes", "ec2:DescribeLaunchTemplateVersions", "ec2:GetInstanceTypesFromInstanceRequirements",
        ]
        Resource = "*"
      },
      {
        Sid      = "LooksAtTheNodeGroup"
        Effect   = "Allow"
        Action   = "eks:DescribeNodegroup"
        Resource = "arn:aws:eks:${var.region}:${local.account}:nodegroup/${local.name}/*/*"
      },
      {
        Sid       = "ScalesTheNodesOfTheCluster"
        Effect    = "Allow"
        Action    = ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"]
        Resource  = "arn:aws:autoscaling:${var.region}:${local.account}:autoScalingGroup:*:autoScalingGroupName/*"
        Condition = { StringEquals = { "aws:ResourceTag/k8s.io/cluster-autoscaler/${local.name}" = "owned" } }
      },
    ]
  })

  traces_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      # X-Ray has no resources.
      Sid      = "Traces"
      Effect   = "Allow"
      Action   = ["xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments"]
      Resource = "*"
    }]
  })

  external_dns_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        # Listing has no resources.
        Sid      = "Looks"
        Effect   = "Allow"
        Action   = ["route53:ListHostedZones", "route53:ListHostedZonesByName", "route53:ListTagsForResources"]
        Resource = "*"
      },
      {
        Sid      = "KeepsTheShopsName"
        Effect   = "Allow"
        Action   = ["route53:ChangeResourceRecordSets", "route53:ListResourceRecordSets", "route53:ListTagsForResource"]
        Resource = "arn:aws:route53:::hostedzone/${try(var.domain.zone_id, "")}"
      },
    ]
  })

  cluster_tag = "elbv2.k8s.aws/cluster"

  load_balancer_arns = {
    for kind in ["loadbalancer", "targetgroup", "listener", "listener-rule"] : kind => "arn:aws:elasticloadbalancing:${var.region}:${local.account}:${kind}/*"
  }

  # The controller creates load balancers, their groups, listeners and rules, tags them with the cluster's name, and changes none
  # without this tag. Its calls are those of its version 3.5.0, whose own policy (docs/install/iam_policy.json) is wider.
  load_balancer_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        # Describing has no resources.
        Sid    = "Looks"
        Effect = "Allow"
        Action = [
          "acm:DescribeCertificate", "acm:ListCertificates",
          "ec2:DescribeAccountAttributes", "ec2:DescribeAddresses", "ec2:DescribeAvailabilityZones", "ec2:DescribeInstances",
          "ec2:DescribeInternetGateways", "ec2:DescribeNetworkInterfaces", "ec2:DescribeRouteTables", "ec2:DescribeSecurityGroups",
          "ec2:DescribeSubnets", "ec2:DescribeTags", "ec2:DescribeVpcPeeringConnections", "ec2:DescribeVpcs", "ec2:GetSecurityGroupsForVpc",
          "elasticloadbalancing:DescribeCapacityReservation", "elasticloadbalancing:DescribeListenerAttributes",
          "elasticloadbalancing:DescribeListenerCertificates", "elasticloadbalancing:DescribeListeners",
          "elasticloadbalancing:DescribeLoadBalancerAttributes", "elasticloadbalancing:DescribeLoadBalancers",
          "elasticloadbalancing:DescribeRules", "elasticloadbalancing:DescribeSSLPolicies", "elasticloadbalancing:DescribeTags",
          "elasticloadbalancing:DescribeTargetGroupAttributes", "elasticloadbalancing:DescribeTargetGroups",
          "elasticloadbalancing:DescribeTargetHealth", "elasticloadbalancing:DescribeTrustStores",
        ]
        Resource = "*"
      },
      {
        Sid       = "MakesMarkedOnes"
        Effect    = "Allow"
        Action    = ["elasticloadbalancing:CreateLoadBalancer", "elasticloadbalancing:CreateTargetGroup"]
        Resource  = [local.load_balancer_arns["loadbalancer"], local.load_balancer_arns["targetgroup"]]
        Condition = { StringEquals = { "aws:RequestTag/${local.cluster_tag}" = local.name } }
      },
      {
        # A Create call with tags needs AddTags on the new resource, which has no tags yet.
        Sid      = "MarksWhatItMakes"
        Effect   = "Allow"
        Action   = "elasticloadbalancing:AddTags"
        Resource = values(local.load_balancer_arns)
        Condition = {
          StringEquals = {
            "aws:RequestTag/${local.cluster_tag}" = local.name
            "elasticloadbalancing:CreateAction"   = ["CreateListener", "CreateLoadBalancer", "CreateRule", "CreateTargetGroup"]
          }
        }
      },
      {
        Sid    = "ChangesMarkedOnes"
        Effect = "Allow"
        Action = [
          "elasticloadbalancing:AddListenerCertificates", "elasticloadbalancing:AddTags", "elasticloadbalancing:CreateListener",
          "elasticloadbalancing:CreateRule", "elasticloadbalancing:DeleteListener", "elasticloadbalancing:DeleteLoadBalancer",
          "elasticloadbalancing:DeleteRule", "elasticloadbalancing:DeleteTargetGroup", "elasticloadbalancing:DeregisterTargets",
          "elasticloadbalancing:ModifyListener", "elasticloadbalancing:ModifyListenerAttributes",
          "elasticloadbalancing:ModifyLoadBalancerAttributes", "elasticloadbalancing:ModifyRule", "elasticloadbalancing:ModifyTargetGroup",
          "elasticloadbalancing:ModifyTargetGroupAttributes", "elasticloadbalancing:RegisterTargets",
          "elasticloadbalancing:RemoveListenerCertificates", "elasticloadbalancing:RemoveTags", "elasticloadbalancing:SetIpAddressType",
          "elasticloadbalancing:SetRulePriorities", "elasticloadbalancing:SetSecurityGroups", "elasticloadbalancing:SetSubnets",
        ]
        Resource  = values(local.load_balancer_arns)
        Condition = { StringEquals = { "aws:ResourceTag/${local.cluster_tag}" = local.name } }
      },
      {
        # The first load balancer of an account creates the role by which AWS runs load balancers.
        Sid       = "MakesTheirServicesRole"
        Effect    = "Allow"
        Action    = "iam:CreateServiceLinkedRole"
        Resource  = "arn:aws:iam::${local.account}:role/aws-service-role/elasticloadbalancing.amazonaws.com/*"
        Condition = { StringEquals = { "iam:AWSServiceName" = "elasticloadbalancing.amazonaws.com" } }
      },
      {
        Sid      = "MakesSecurityGroups"
        Effect   = "Allow"
        Action   = "ec2:CreateSecurityGroup"
        Resource = [aws_vpc.this.arn, local.security_group_arns]
      },
      {
        Sid      = "MarksSecurityGroupsItMakes"
        Effect   = "Allow"
        Action   = "ec2:CreateTags"
        Resource = local.security_group_arns
        Condition = {
          StringEquals = { "aws:RequestTag/${local.cluster_tag}" = local.name, "ec2:CreateAction" = "CreateSecurityGroup" }
        }
      },
      {
        Sid       = "ChangesMarksOfItsSecurityGroups"
        Effect    = "Allow"
        Action    = ["ec2:CreateTags", "ec2:DeleteTags"]
        Resource  = local.security_group_arns
        Condition = { StringEquals = { "aws:ResourceTag/${local.cluster_tag}" = local.name } }
      },
      {
        Sid       = "ChangesSecurityGroupsOfTheCluster"
        Effect    = "Allow"
        Action    = ["ec2:AuthorizeSecurityGroupIngress", "ec2:DeleteSecurityGroup", "ec2:RevokeSecurityGroupIngress"]
        Resource  = local.security_group_arns
        Condition = { StringEquals = { "ec2:Vpc" = aws_vpc.this.arn } }
      },
    ]
  })

  security_group_arns = "arn:aws:ec2:${var.region}:${local.account}:security-group/*"
}
