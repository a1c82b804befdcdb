# Kubernetes secrets are encrypted with it before they are stored. Lost with the key, they are lost.
resource "yandex_kms_symmetric_key" "secrets" {
  name                = "${var.name}-secrets"
  description         = "Secrets of the Kubernetes cluster"
  default_algorithm   = "AES_256"
  rotation_period     = "8760h"
  deletion_protection = var.deletion_protection
  labels              = local.labels
}

resource "yandex_kubernetes_cluster" "this" {
  name        = var.name
  description = "Real-time fraud scoring"
  network_id  = yandex_vpc_network.this.id
  labels      = local.labels

  release_channel         = "STABLE"
  network_policy_provider = "CALICO"
  cluster_ipv4_range      = module.sizing.pods
  service_ipv4_range      = module.sizing.services
  service_account_id      = yandex_iam_service_account.cluster.id
  node_service_account_id = yandex_iam_service_account.nodes.id

  kms_provider {
    key_id = yandex_kms_symmetric_key.secrets.id
  }

  # One master in each zone: the loss of a zone stops neither scaling nor deployments.
  master {
    version            = var.kubernetes_version
    public_ip          = true
    security_group_ids = [yandex_vpc_security_group.this["api"].id, yandex_vpc_security_group.this["cluster"].id]

    dynamic "master_location" {
      for_each = yandex_vpc_subnet.nodes
      content {
        zone      = master_location.value.zone
        subnet_id = master_location.value.id
      }
    }

    maintenance_policy {
      auto_upgrade = true
      maintenance_window {
        day        = "monday"
        start_time = "02:00"
        duration   = "3h"
      }
    }

    master_logging {
      enabled                    = true
      folder_id                  = var.folder_id
      kube_apiserver_enabled     = true
      cluster_autoscaler_enabled = true
      events_enabled             = true
      audit_enabled              = true
    }
  }

  # Rights come before the cluster and go after it: without them it can be neither made nor taken down.
  depends_on = [
    yandex_resourcemanager_folder_iam_member.cluster,
    yandex_kms_symmetric_key_iam_member.cluster,
    yandex_resourcemanager_folder_iam_member.nodes,
  ]
}

# A fixed number: the ceiling of the bill is part of the design (deploy/README.md). Replicas scale, nodes do not.
resource "yandex_kubernetes_node_group" "this" {
  name        = "${var.name}-nodes"
  cluster_id  = yandex_kubernetes_cluster.this.id
  version     = var.kubernetes_version
  labels      = local.labels
  node_labels = { "node.kubernetes.io/purpose" = var.name }

  instance_template {
    name        = "${var.name}-{instance.index}"
    platform_id = "standard-v3"

    resources {
      cores         = module.sizing.nodes.cores
      memory        = module.sizing.nodes.memory
      core_fraction = 100
    }

    boot_disk {
      type = "network-ssd"
      size = module.sizing.nodes.disk
    }

    network_interface {
      nat        = false
      subnet_ids = [for subnet in yandex_vpc_subnet.nodes : subnet.id]
      security_group_ids = [
        yandex_vpc_security_group.this["cluster"].id,
        yandex_vpc_security_group.this["services"].id,
      ]
    }

    scheduling_policy {
      preemptible = false
    }

    container_runtime {
      type = "containerd"
    }
  }

  scale_policy {
    fixed_scale {
      size = module.sizing.nodes.count
    }
  }

  allocation_policy {
    dynamic "location" {
      for_each = yandex_vpc_subnet.nodes
      content {
        zone = location.value.zone
      }
    }
  }

  # One node at a time, and a new one before the old goes: the disruption budgets hold meanwhile.
  deploy_policy {
    max_expansion   = 1
    max_unavailable = 0
  }

  maintenance_policy {
    auto_upgrade = true
    auto_repair  = true
    maintenance_window {
      day        = "tuesday"
      start_time = "02:00"
      duration   = "3h"
    }
  }

  depends_on = [yandex_resourcemanager_folder_iam_member.nodes]
}
