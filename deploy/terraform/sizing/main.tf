# Works out what the cloud is asked for. Names no provider, so that it can be tested anywhere.
locals {
  # Two /16 and as many /24 as there are zones: parts of one block cannot overlap.
  pods     = cidrsubnet(var.address_block, 3, 0)
  services = cidrsubnet(var.address_block, 3, 1)
  subnets  = { for index, zone in var.zones : zone => cidrsubnet(cidrsubnet(var.address_block, 3, 2), 8, index) }

  anywhere = ["0.0.0.0/0"]
  inside   = concat([local.pods, local.services], values(local.subnets))

  # What the operating system, kubelet and the eviction threshold keep of each node, as the provider publishes it: 80
  # millicores, a quarter of the first 4 GiB, a fifth of the next 4, a tenth of the next 8, and 0.1 GiB.
  node_cpu = 1000 * var.nodes.cores - 80
  kept_memory = sum([
    0.1,
    0.25 * min(var.nodes.memory, 4),
    0.20 * max(0, min(var.nodes.memory, 8) - 4),
    0.10 * max(0, min(var.nodes.memory, 16) - 8),
  ])
  node_memory = floor(1024 * (var.nodes.memory - local.kept_memory))

  asked_cpu    = sum([for service in var.services_at_ceiling : service.pods * service.cpu])
  asked_memory = sum([for service in var.services_at_ceiling : service.pods * service.memory])
  # With one node lost.
  offered_cpu    = (var.nodes.count - 1) * local.node_cpu
  offered_memory = (var.nodes.count - 1) * local.node_memory

  every = { from_port = 0, to_port = 65535 }
}
