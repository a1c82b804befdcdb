resource "yandex_container_registry" "this" {
  name   = var.name
  labels = local.labels
}

resource "yandex_container_repository" "this" {
  for_each = toset(["fraud-api", "fraud-stream", "fraud-loadgen"])

  name = "${yandex_container_registry.this.id}/${each.key}"
}

# What no tag names any more goes after two weeks; the last ten versions stay for a way back.
resource "yandex_container_repository_lifecycle_policy" "this" {
  for_each = yandex_container_repository.this

  name          = "keep-ten"
  status        = "active"
  repository_id = each.value.id

  rule {
    description   = "Without a tag"
    untagged      = true
    expire_period = "336h"
  }

  rule {
    description   = "Builds of the main branch"
    tag_regexp    = "main-.*"
    retained_top  = 10
    expire_period = "720h"
  }
}
