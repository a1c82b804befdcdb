output "nodes" {
  description = "The node group."
  value       = var.nodes

  precondition {
    condition     = local.asked_cpu <= local.offered_cpu
    error_message = "At its ceiling the platform asks for ${local.asked_cpu} millicores; with one node lost there are ${local.offered_cpu}. Take more or larger nodes."
  }
  precondition {
    condition     = local.asked_memory <= local.offered_memory
    error_message = "At its ceiling the platform asks for ${local.asked_memory} MiB; with one node lost there are ${local.offered_memory}. Take more or larger nodes."
  }
}

output "pods" {
  description = "Addresses of Pods."
  value       = local.pods
}

output "services" {
  description = "Addresses of Services."
  value       = local.services
}

output "subnets" {
  description = "Addresses of nodes, by zone."
  value       = local.subnets
}

output "capacity" {
  description = "Asked for at the ceiling, and offered with one node lost; millicores and MiB."
  value = {
    asked   = { cpu = local.asked_cpu, memory = local.asked_memory }
    offered = { cpu = local.offered_cpu, memory = local.offered_memory }
  }
}

output "security_groups" {
  description = "Groups and their rules. A rule has either `cidrs` or a `target`."
  value = {
    api = {
      description = "Operators reach the Kubernetes API"
      ingress = [for port in [443, 6443] : {
        description = "Kubernetes API", protocol = "TCP", from_port = port, to_port = port, cidrs = var.operators, target = null
      }]
      egress = []
    }
    cluster = {
      description = "What the cluster says to itself, and fetches"
      ingress = [
        merge(local.every, { description = "Masters and nodes", protocol = "ANY", cidrs = null, target = "self_security_group" }),
        merge(local.every, { description = "Pods and Services", protocol = "ANY", cidrs = local.inside, target = null }),
        merge(local.every, { description = "Health checks of load balancers", protocol = "TCP", cidrs = null, target = "loadbalancer_healthchecks" }),
        { description = "Path MTU and ping", protocol = "ICMP", from_port = null, to_port = null, cidrs = local.inside, target = null },
      ]
      egress = [merge(local.every, { description = "Images, registries, brokers", protocol = "ANY", cidrs = local.anywhere, target = null })]
    }
    services = {
      description = "Clients reach the load balancer's node ports"
      # Without clients there is no rule, and so no way in.
      ingress = [for port in length(var.clients) > 0 ? [30000] : [] : {
        description = "Node ports", protocol = "TCP", from_port = port, to_port = 32767, cidrs = var.clients, target = null
      }]
      egress = []
    }
  }
}
