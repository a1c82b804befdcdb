variable "cloud_id" {
  description = "The cloud."
  type        = string
}

variable "folder_id" {
  description = "The folder that everything goes into."
  type        = string
}

variable "name" {
  description = "What the names of all resources begin with."
  type        = string
  default     = "fraud"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}$", var.name))
    error_message = "A name begins with a letter and has 2 to 31 lower-case letters, digits and dashes."
  }
}

variable "kubernetes_version" {
  description = "Minor version of control plane and nodes."
  type        = string
  default     = "1.32"

  validation {
    condition     = can(regex("^1\\.(3[0-9])$", var.kubernetes_version))
    error_message = "1.30 or later: the manifests use the `sleep` of preStop and matchLabelKeys."
  }
}

variable "zones" {
  description = "Availability zones; one subnet and one master in each."
  type        = list(string)
  default     = ["ru-central1-a", "ru-central1-b", "ru-central1-d"]
}

variable "address_block" {
  description = "A private /13 that nothing else of yours uses. Nodes, Pods and Services get their parts of it."
  type        = string
  default     = "10.112.0.0/13"
}

variable "nodes" {
  description = "The node group: how many, and how large each is (memory and disk in GiB)."
  type = object({
    count  = optional(number, 3)
    cores  = optional(number, 4)
    memory = optional(number, 8)
    disk   = optional(number, 96)
  })
  default = {}
}

variable "operators" {
  description = "Networks that may reach the Kubernetes API, such as the office's or the bastion's."
  type        = list(string)
}

variable "clients" {
  description = "Networks whose payments are scored, through the load balancer. Empty: no public access."
  type        = list(string)
  default     = []
}

variable "deletion_protection" {
  description = "Keeps the key that encrypts the cluster's secrets from being deleted."
  type        = bool
  default     = true
}
