#!/usr/bin/env bash
# Destroys infra-aws so that an apply can create it again: first the resources that controllers created in the VPC, then those of
# Terraform, then those that AWS recreated meanwhile. The data is destroyed, too; only the backups that AWS keeps remain.
#
#   bootstrap/destroy.sh dev|prod [--dry-run] [terraform arguments …]      --dry-run prints the steps, and does nothing
#
# The state must be initialised (bootstrap/apply.sh), and kubectl must reach the cluster (bootstrap/way-in.sh in prod).
set -euo pipefail

cd "$(dirname "$0")/.."
environment=${1:?dev or prod}
shift
dry=
[ "${1:-}" != --dry-run ] || { dry=1; shift; }
# shellcheck source=infra-aws/bootstrap/steps.sh
. bootstrap/steps.sh
name=tidemark-$environment

step "the tools are there" needs aws terraform kubectl
step "passwords, which Terraform asks for and drops" fresh_passwords
step "nothing is protected any more" terraform apply -input=false -auto-approve -var-file="env/$environment.tfvars" -var protect=false "$@"
step "Argo CD takes the shop and its operators away" kubectl -n argocd delete application tidemark-root --ignore-not-found --wait --timeout=15m
step "volumes go with their claims" kubectl -n monitoring delete pvc --all --ignore-not-found --wait --timeout=10m
step "no load balancer of the cluster is left" none_left "elasticloadbalancing" "elbv2.k8s.aws/cluster" "$name"
step "no volume of the cluster is left" none_left "ec2:volume" "kubernetes.io/cluster/$name" owned
step "destroy" terraform destroy -input=false -auto-approve -var-file="env/$environment.tfvars" -var protect=false "$@"
step "log groups that AWS made again are gone" forget_logs "/aws/eks/$name/" "/aws/rds/instance/$name/" "/aws/lambda/$name-" "/aws/containerinsights/$name/"
step "no secret keeps its name" no_secret "$name"
[ -n "$dry" ] || echo "done: bootstrap/apply.sh creates it again"
