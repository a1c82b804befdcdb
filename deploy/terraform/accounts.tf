# Three accounts, each with the few roles that its work needs. Members, never bindings: a binding would take the role from
# everybody else in the folder.

# Kubernetes itself: makes nodes, disks and load balancers.
resource "yandex_iam_service_account" "cluster" {
  name        = "${var.name}-cluster"
  description = "The managed Kubernetes cluster"
}

resource "yandex_resourcemanager_folder_iam_member" "cluster" {
  for_each = toset(concat(
    ["k8s.clusters.agent", "load-balancer.admin"],
    # Only where load balancers may be public.
    length(var.clients) > 0 ? ["vpc.publicAdmin"] : [],
  ))

  folder_id = var.folder_id
  role      = each.key
  member    = "serviceAccount:${yandex_iam_service_account.cluster.id}"
}

# The key of the cluster's secrets: this one key, not all of the folder.
resource "yandex_kms_symmetric_key_iam_member" "cluster" {
  symmetric_key_id = yandex_kms_symmetric_key.secrets.id
  role             = "kms.keys.encrypterDecrypter"
  member           = "serviceAccount:${yandex_iam_service_account.cluster.id}"
}

# The nodes: fetch images, and nothing else.
resource "yandex_iam_service_account" "nodes" {
  name        = "${var.name}-nodes"
  description = "The nodes of the cluster: pulls images"
}

resource "yandex_resourcemanager_folder_iam_member" "nodes" {
  folder_id = var.folder_id
  role      = "container-registry.images.puller"
  member    = "serviceAccount:${yandex_iam_service_account.nodes.id}"
}

# The pipeline: brings images. It gets no key here: a token of hours is made where it is needed (README.md, "The pipeline's token").
resource "yandex_iam_service_account" "pipeline" {
  name        = "${var.name}-pipeline"
  description = "The build pipeline: pushes images"
}

resource "yandex_resourcemanager_folder_iam_member" "pipeline" {
  folder_id = var.folder_id
  role      = "container-registry.images.pusher"
  member    = "serviceAccount:${yandex_iam_service_account.pipeline.id}"
}
