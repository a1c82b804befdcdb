# terraform test: no provider, no cloud, no account.
variables {
  address_block = "10.112.0.0/13"
  zones         = ["ru-central1-a", "ru-central1-b", "ru-central1-d"]
  nodes         = {}
  operators     = ["203.0.113.7/32"]
  clients       = []
}

run "three_nodes_by_default" {
  command = apply

  assert {
    condition     = output.nodes.count == 3
    error_message = "The node group has ${output.nodes.count} nodes."
  }
  assert {
    condition     = output.capacity.asked.cpu <= output.capacity.offered.cpu
    error_message = "The default nodes do not carry the ceiling."
  }
}

run "addresses_are_parts_of_the_block_and_do_not_overlap" {
  command = apply

  assert {
    condition     = output.pods == "10.112.0.0/16" && output.services == "10.113.0.0/16"
    error_message = "Pods ${output.pods}, Services ${output.services}."
  }
  assert {
    condition = jsonencode(output.subnets) == jsonencode({
      "ru-central1-a" = "10.114.0.0/24"
      "ru-central1-b" = "10.114.1.0/24"
      "ru-central1-d" = "10.114.2.0/24"
    })
    error_message = jsonencode(output.subnets)
  }
}

run "only_operators_reach_the_api" {
  command = apply

  assert {
    condition = alltrue([
      for rule in output.security_groups.api.ingress :
      rule.cidrs == tolist(["203.0.113.7/32"]) && rule.from_port == rule.to_port && contains([443, 6443], rule.from_port)
    ]) && length(output.security_groups.api.ingress) == 2
    error_message = jsonencode(output.security_groups.api.ingress)
  }
}

run "without_clients_no_way_in" {
  command = apply

  assert {
    condition     = length(output.security_groups.services.ingress) == 0
    error_message = jsonencode(output.security_groups.services.ingress)
  }
}

run "clients_reach_node_ports_and_nothing_else" {
  command = apply
  variables {
    clients = ["198.51.100.0/24"]
  }

  assert {
    condition = (
      length(output.security_groups.services.ingress) == 1
      && output.security_groups.services.ingress[0].from_port == 30000
      && output.security_groups.services.ingress[0].to_port == 32767
      && output.security_groups.services.ingress[0].cidrs == tolist(["198.51.100.0/24"])
    )
    error_message = jsonencode(output.security_groups.services.ingress)
  }
}

run "nothing_from_anywhere_comes_in" {
  command = apply
  variables {
    clients = ["198.51.100.0/24"]
  }

  assert {
    condition = alltrue(flatten([
      for group in output.security_groups : [
        for rule in group.ingress : rule.cidrs == null ? true : !contains(rule.cidrs, "0.0.0.0/0")
      ]
    ]))
    error_message = "A rule lets the whole internet in."
  }
  assert {
    condition = alltrue(flatten([
      for group in output.security_groups : [
        for rule in concat(group.ingress, group.egress) : (rule.cidrs == null) != (rule.target == null)
      ]
    ]))
    error_message = "A rule names either networks or a target."
  }
}

run "two_nodes_are_refused" {
  command = plan
  variables {
    nodes = { count = 2 }
  }
  expect_failures = [var.nodes]
}

run "too_many_nodes_are_refused" {
  command = plan
  variables {
    nodes = { count = 13 }
  }
  expect_failures = [var.nodes]
}

run "a_half_node_is_refused" {
  command = plan
  variables {
    nodes = { count = 3.5 }
  }
  expect_failures = [var.nodes]
}

run "small_disks_are_refused" {
  command = plan
  variables {
    nodes = { disk = 32 }
  }
  expect_failures = [var.nodes]
}

run "odd_cores_are_refused" {
  command = plan
  variables {
    nodes = { cores = 5 }
  }
  expect_failures = [var.nodes]
}

run "nodes_that_cannot_carry_the_ceiling_with_one_lost_are_refused" {
  command = plan
  variables {
    nodes = { cores = 2, memory = 8 }
  }
  expect_failures = [output.nodes]
}

run "memory_counts_as_well" {
  command = plan
  variables {
    nodes = { cores = 4, memory = 4 }
  }
  expect_failures = [output.nodes]
}

run "two_zones_are_refused" {
  command = plan
  variables {
    zones = ["ru-central1-a", "ru-central1-b"]
  }
  expect_failures = [var.zones]
}

run "one_zone_thrice_is_refused" {
  command = plan
  variables {
    zones = ["ru-central1-a", "ru-central1-a", "ru-central1-a"]
  }
  expect_failures = [var.zones]
}

run "the_whole_internet_as_operators_is_refused" {
  command = plan
  variables {
    operators = ["0.0.0.0/0"]
  }
  expect_failures = [var.operators]
}

run "nobody_as_operators_is_refused" {
  command = plan
  variables {
    operators = []
  }
  expect_failures = [var.operators]
}

run "a_public_block_is_refused" {
  command = plan
  variables {
    address_block = "203.0.113.0/24"
  }
  expect_failures = [var.address_block]
}

run "a_block_that_begins_in_the_middle_is_refused" {
  command = plan
  variables {
    address_block = "10.113.0.0/13"
  }
  expect_failures = [var.address_block]
}
