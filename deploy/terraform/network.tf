resource "yandex_vpc_network" "this" {
  name   = var.name
  labels = local.labels
}

# Nodes have no public addresses; what they fetch goes through here.
resource "yandex_vpc_gateway" "egress" {
  name = "${var.name}-egress"
  shared_egress_gateway {}
}

resource "yandex_vpc_route_table" "egress" {
  name       = "${var.name}-egress"
  network_id = yandex_vpc_network.this.id
  labels     = local.labels

  static_route {
    destination_prefix = "0.0.0.0/0"
    gateway_id         = yandex_vpc_gateway.egress.id
  }
}

resource "yandex_vpc_subnet" "nodes" {
  for_each = module.sizing.subnets

  name           = "${var.name}-${each.key}"
  network_id     = yandex_vpc_network.this.id
  zone           = each.key
  v4_cidr_blocks = [each.value]
  route_table_id = yandex_vpc_route_table.egress.id
  labels         = local.labels
}

# One group for each purpose: who may reach the API, what the cluster says to itself, who may reach the services.
resource "yandex_vpc_security_group" "this" {
  for_each = module.sizing.security_groups

  name        = "${var.name}-${each.key}"
  description = each.value.description
  network_id  = yandex_vpc_network.this.id
  labels      = local.labels

  dynamic "ingress" {
    for_each = each.value.ingress
    content {
      description       = ingress.value.description
      protocol          = ingress.value.protocol
      from_port         = ingress.value.from_port
      to_port           = ingress.value.to_port
      v4_cidr_blocks    = ingress.value.cidrs
      predefined_target = ingress.value.target
    }
  }

  dynamic "egress" {
    for_each = each.value.egress
    content {
      description       = egress.value.description
      protocol          = egress.value.protocol
      from_port         = egress.value.from_port
      to_port           = egress.value.to_port
      v4_cidr_blocks    = egress.value.cidrs
      predefined_target = egress.value.target
    }
  }
}
