variable "address_block" {
  description = "A private /13."
  type        = string

  validation {
    condition = (
      can(cidrhost(var.address_block, 0))
      && try(split("/", var.address_block)[1], "") == "13"
      && can(regex("^10\\.", var.address_block))
      && try(cidrhost(var.address_block, 0), "") == try(split("/", var.address_block)[0], "-")
    )
    error_message = "Give a /13 inside of 10.0.0.0/8 at its first address, such as 10.112.0.0/13."
  }
}

variable "zones" {
  description = "Availability zones."
  type        = list(string)

  validation {
    condition     = length(var.zones) == 3 && length(distinct(var.zones)) == 3
    error_message = "Three different zones: with fewer, the loss of one takes the control plane with it."
  }
}

variable "nodes" {
  description = "The node group; memory and disk in GiB."
  type = object({
    count  = optional(number, 3)
    cores  = optional(number, 4)
    memory = optional(number, 8)
    disk   = optional(number, 96)
  })

  validation {
    condition     = var.nodes.count >= 3 && floor(var.nodes.count) == var.nodes.count
    error_message = "At least three nodes, one in each zone: replicas of a service spread over them."
  }
  validation {
    condition     = var.nodes.count <= 12
    error_message = "At most twelve nodes: the ceiling of the bill is part of the design."
  }
  validation {
    condition     = contains([2, 4, 6, 8, 12, 16], var.nodes.cores)
    error_message = "The platform has nodes of 2, 4, 6, 8, 12 or 16 cores."
  }
  validation {
    condition     = var.nodes.memory >= var.nodes.cores && var.nodes.memory <= 16 * var.nodes.cores
    error_message = "Memory is 1 to 16 GiB for each core."
  }
  validation {
    condition     = var.nodes.disk >= 64
    error_message = "Managed Kubernetes asks for disks of at least 64 GiB."
  }
}

variable "operators" {
  description = "Networks that may reach the Kubernetes API."
  type        = list(string)

  validation {
    condition     = length(var.operators) > 0
    error_message = "Somebody must reach the Kubernetes API: name at least one network."
  }
  validation {
    condition     = alltrue([for network in var.operators : can(cidrhost(network, 0))])
    error_message = "A network looks like 203.0.113.0/24."
  }
  validation {
    condition     = alltrue([for network in var.operators : try(tonumber(split("/", network)[1]), 0) >= 16])
    error_message = "The Kubernetes API is for named networks (/16 at the widest), not for the whole internet."
  }
}

variable "clients" {
  description = "Networks whose payments are scored."
  type        = list(string)

  validation {
    condition     = alltrue([for network in var.clients : can(cidrhost(network, 0))])
    error_message = "A network looks like 203.0.113.0/24."
  }
}

variable "services_at_ceiling" {
  description = "What runs at its most: Pods, and the request of each in millicores and MiB. The figures are those of deploy/cloud."
  type = map(object({
    pods   = number
    cpu    = number
    memory = number
  }))
  default = {
    fraud-api    = { pods = 6, cpu = 500, memory = 256 }
    fraud-stream = { pods = 6, cpu = 500, memory = 256 }
    fraud-redis  = { pods = 1, cpu = 200, memory = 2048 }
    monitoring   = { pods = 1, cpu = 1000, memory = 3072 }
    # Autoscaler's and operators' own Pods.
    operators = { pods = 6, cpu = 100, memory = 128 }
  }
}
