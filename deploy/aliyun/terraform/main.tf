# registry-proxy on Aliyun Function Compute 3.0: what ../s.yaml and ../s.image.yaml create, for Terraform and OpenTofu; with
# var.bucket also a bucket, and a role for it. ../README.md says how.

terraform {
  required_version = ">= 1.4"

  required_providers {
    alicloud = {
      source  = "aliyun/alicloud"
      version = ">= 1.242"
    }
  }
}

provider "alicloud" {
  region = var.region
}

locals {
  prefix   = "registry-proxy"
  is_image = var.image != ""

  # One element with a bucket, none without.
  buckets = var.bucket == "" ? [] : [var.bucket]

  store = {
    for bucket in local.buckets : "REGISTRY_PROXY_CACHE__STORE" =>
    "oss://${bucket}/${local.prefix}?region=${var.region}&endpoint=https://oss-${var.region}-internal.aliyuncs.com"
  }
}

resource "alicloud_oss_bucket" "blobs" {
  for_each = toset(local.buckets)
  bucket   = each.value

  # This bucket is a cache: `terraform destroy` may empty it.
  force_destroy = true

  lifecycle_rule {
    id      = "expire"
    prefix  = "${local.prefix}/"
    enabled = true

    expiration {
      days = var.expiration_days
    }
  }

  lifecycle_rule {
    id      = "abandoned-uploads"
    prefix  = "${local.prefix}/"
    enabled = true

    abort_multipart_upload {
      days = 1
    }
  }
}

resource "alicloud_ram_role" "proxy" {
  for_each    = toset(local.buckets)
  name        = var.name
  description = "What registry-proxy may do"
  document = jsonencode({
    Version = "1"
    Statement = [{
      Action    = "sts:AssumeRole"
      Effect    = "Allow"
      Principal = { Service = ["fc.aliyuncs.com"] }
    }]
  })
}

resource "alicloud_ram_policy" "blobs" {
  for_each    = toset(local.buckets)
  policy_name = "${var.name}-blobs"
  description = "The bucket of registry-proxy, below one prefix"
  policy_document = jsonencode({
    Version = "1"
    Statement = [
      {
        Effect = "Allow"
        Action = [
          "oss:GetObject",
          "oss:PutObject",
          "oss:DeleteObject",
          "oss:AbortMultipartUpload",
          "oss:ListParts",
        ]
        Resource = ["acs:oss:*:*:${each.value}/${local.prefix}/*"]
      },
      {
        Effect   = "Allow"
        Action   = ["oss:ListObjects"]
        Resource = ["acs:oss:*:*:${each.value}"]
      },
    ]
  })
}

resource "alicloud_ram_role_policy_attachment" "blobs" {
  for_each    = toset(local.buckets)
  role_name   = alicloud_ram_role.proxy[each.value].name
  policy_name = alicloud_ram_policy.blobs[each.value].policy_name
  policy_type = "Custom"
}

resource "alicloud_fcv3_function" "proxy" {
  function_name = var.name
  description   = "registry-proxy, a proxy and cache for container registries"
  runtime       = local.is_image ? "custom-container" : "custom.debian12"

  # The provider wants one; a program that listens has none.
  handler = "index.handler"

  # Memory in gigabytes must be one to four times the number of processors.
  cpu         = 0.25
  memory_size = 256

  # Uploads to a bucket are staged on the disk, which has one of two sizes.
  disk_size = var.bucket == "" ? 512 : 10240

  # One request transfers one layer, as slowly as the client reads it.
  timeout              = 3600
  instance_concurrency = 100
  internet_access      = true
  role                 = one([for role in alicloud_ram_role.proxy : role.arn])

  environment_variables = merge({
    REGISTRY_PROXY_CLIENTS__PATH_SECRET = var.path_secret
    REGISTRY_PROXY_LOG__FORMAT          = "json"

    # With REGISTRY_BACKEND: otherwise that registry's redirects lead clients past the cache.
    HANDLE_REDIRECT = "true"
  }, local.store, var.environment)

  dynamic "custom_container_config" {
    for_each = local.is_image ? [var.image] : []

    content {
      image = custom_container_config.value

      # The image finds out where it runs, and listens there.
      port = 9000

      # Without it a client that disconnects may cause a restart of the instance.
      health_check_config {
        http_get_url          = "/healthz"
        initial_delay_seconds = 1
        period_seconds        = 10
        timeout_seconds       = 1
        failure_threshold     = 3
        success_threshold     = 1
      }
    }
  }

  dynamic "code" {
    for_each = local.is_image ? [] : [var.package]

    content {
      zip_file = filebase64(code.value)
    }
  }

  dynamic "custom_runtime_config" {
    for_each = local.is_image ? [] : [9000]

    content {
      command = ["./registry-proxy"]
      port    = custom_runtime_config.value

      health_check_config {
        http_get_url          = "/healthz"
        initial_delay_seconds = 1
        period_seconds        = 10
        timeout_seconds       = 1
        failure_threshold     = 3
        success_threshold     = 1
      }
    }
  }

  lifecycle {
    precondition {
      condition     = (var.image == "") != (var.package == "")
      error_message = "Set image or package, one of the two."
    }
  }

  depends_on = [alicloud_ram_role_policy_attachment.blobs]
}

resource "alicloud_fcv3_trigger" "http" {
  function_name = alicloud_fcv3_function.proxy.function_name
  trigger_name  = "http"
  trigger_type  = "http"
  description   = "Everybody who knows the path"
  qualifier     = "LATEST"
  trigger_config = jsonencode({
    authType           = "anonymous"
    disableURLInternet = false
    methods            = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
  })
}

output "function" {
  description = "The function. Its URL is that of the HTTP trigger, on the function's page in the console."
  value       = alicloud_fcv3_function.proxy.function_name
}
