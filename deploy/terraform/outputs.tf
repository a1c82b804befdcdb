output "kubectl" {
  description = "Adds the cluster to your kubeconfig; kubectl then works with your own account."
  value       = "yc managed-kubernetes cluster get-credentials --id ${yandex_kubernetes_cluster.this.id} --external"
}

output "cluster_id" {
  description = "The cluster."
  value       = yandex_kubernetes_cluster.this.id
}

output "endpoint" {
  description = "Address of the Kubernetes API."
  value       = yandex_kubernetes_cluster.this.master[0].external_v4_endpoint
}

output "ca_certificate" {
  description = "What the API's certificate is verified with; public."
  value       = yandex_kubernetes_cluster.this.master[0].cluster_ca_certificate
}

output "kubeconfig" {
  description = "A kubeconfig without any secret: kubectl asks yc for a token. terraform output -raw kubeconfig > kubeconfig"
  value = yamlencode({
    apiVersion      = "v1"
    kind            = "Config"
    current-context = var.name
    clusters = [{
      name = var.name
      cluster = {
        server                     = yandex_kubernetes_cluster.this.master[0].external_v4_endpoint
        certificate-authority-data = base64encode(yandex_kubernetes_cluster.this.master[0].cluster_ca_certificate)
      }
    }]
    contexts = [{ name = var.name, context = { cluster = var.name, user = "yc", namespace = "fraud" } }]
    users = [{
      name = "yc"
      user = { exec = {
        apiVersion         = "client.authentication.k8s.io/v1beta1"
        command            = "yc"
        args               = ["k8s", "create-token"]
        interactiveMode    = "Never"
        provideClusterInfo = false
      } }
    }]
  })
}

output "registry" {
  description = "Where images go; kustomize edit set image fraud-api=<registry>/fraud-api:<tag>."
  value       = "cr.yandex/${yandex_container_registry.this.id}"
}

output "pipeline_account_id" {
  description = "The account that pushes images."
  value       = yandex_iam_service_account.pipeline.id
}

output "capacity" {
  description = "What the nodes offer, and what the platform asks of them at its ceiling, in millicores and MiB."
  value       = module.sizing.capacity
}
