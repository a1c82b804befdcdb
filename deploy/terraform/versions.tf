terraform {
  required_version = ">= 1.7.0"

  required_providers {
    yandex = {
      source  = "yandex-cloud/yandex"
      version = "~> 0.140"
    }
  }

  # Object Storage speaks S3. Where the bucket is, and its key, stand in a file that stays out of git (README.md).
  backend "s3" {}
}

# Who acts comes from the environment: YC_TOKEN, or YC_SERVICE_ACCOUNT_KEY_FILE in a pipeline.
provider "yandex" {
  cloud_id  = var.cloud_id
  folder_id = var.folder_id
}
