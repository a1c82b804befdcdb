# Sizes, addresses and rules are worked out, and refused where they cannot hold, without any cloud.
module "sizing" {
  source = "./sizing"

  address_block = var.address_block
  zones         = var.zones
  nodes         = var.nodes
  operators     = var.operators
  clients       = var.clients
}

locals {
  labels = {
    project = var.name
    managed = "terraform"
  }
}
