# terraform test, with every resource a mock: what would be asked of the cloud.
mock_provider "yandex" {}

variables {
  cloud_id  = "cloud"
  folder_id = "folder"
  operators = ["203.0.113.7/32"]
}

run "a_node_group_of_three_over_three_zones" {
  command = plan

  assert {
    condition     = yandex_kubernetes_node_group.this.scale_policy[0].fixed_scale[0].size == 3
    error_message = "The node group is not of three."
  }
  assert {
    condition     = length(distinct([for subnet in yandex_vpc_subnet.nodes : subnet.zone])) == 3
    error_message = "The nodes are not in three zones."
  }
  assert {
    condition     = length(yandex_kubernetes_cluster.this.master[0].master_location) == 3
    error_message = "There is not a master in each zone."
  }
}

run "nodes_have_no_public_addresses" {
  command = plan

  assert {
    condition     = yandex_kubernetes_node_group.this.instance_template[0].network_interface[0].nat == false
    error_message = "Nodes have public addresses."
  }
}

run "secrets_are_encrypted_with_a_key_that_cannot_be_deleted" {
  command = apply

  assert {
    condition     = yandex_kubernetes_cluster.this.kms_provider[0].key_id == yandex_kms_symmetric_key.secrets.id
    error_message = "The cluster does not use the key."
  }
  assert {
    condition     = yandex_kms_symmetric_key.secrets.deletion_protection && yandex_kms_symmetric_key.secrets.rotation_period != ""
    error_message = "The key can be deleted, or is never rotated."
  }
}

run "each_account_has_its_few_roles" {
  command = apply

  assert {
    condition     = toset(keys(yandex_resourcemanager_folder_iam_member.cluster)) == toset(["k8s.clusters.agent", "load-balancer.admin"])
    error_message = "The cluster's account has the roles ${join(", ", keys(yandex_resourcemanager_folder_iam_member.cluster))}."
  }
  assert {
    condition     = yandex_resourcemanager_folder_iam_member.nodes.role == "container-registry.images.puller"
    error_message = "The nodes may do more than pull images."
  }
  assert {
    condition = length(distinct([
      yandex_iam_service_account.cluster.id, yandex_iam_service_account.nodes.id, yandex_iam_service_account.pipeline.id,
    ])) == 3
    error_message = "Accounts are shared."
  }
}

run "public_addresses_only_with_clients" {
  command = plan
  variables {
    clients = ["198.51.100.0/24"]
  }

  assert {
    condition     = contains(keys(yandex_resourcemanager_folder_iam_member.cluster), "vpc.publicAdmin")
    error_message = "Load balancers cannot be public, though there are clients."
  }
}

run "the_kubeconfig_holds_no_secret" {
  command = apply

  assert {
    condition = (
      !strcontains(output.kubeconfig, "token:")
      && !strcontains(output.kubeconfig, "client-key")
      && strcontains(output.kubeconfig, "create-token")
    )
    error_message = "A kubeconfig that can be passed on must not let anyone in."
  }
  assert {
    condition     = startswith(output.kubectl, "yc managed-kubernetes cluster get-credentials")
    error_message = output.kubectl
  }
}

run "an_old_kubernetes_is_refused" {
  command = plan
  variables {
    kubernetes_version = "1.28"
  }
  expect_failures = [var.kubernetes_version]
}
