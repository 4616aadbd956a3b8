# registry-proxy on Tencent SCF, of an image (var.image) or of the zip that `cargo xtask package tencent` makes. README.md
# beside this says how.

terraform {
  required_version = ">= 1.4"

  required_providers {
    tencentcloud = {
      source  = "tencentcloudstack/tencentcloud"
      version = ">= 1.81"
    }
  }
}

provider "tencentcloud" {
  region = var.region
}

data "tencentcloud_user_info" "me" {}

locals {
  app_id = data.tencentcloud_user_info.me.app_id
  prefix = "registry-proxy"

  # The zip, unless there is an image: one element, or none.
  packages = var.image == "" ? [filesha256("${path.module}/registry-proxy.zip")] : []
}

# Layers are too large for the function's responses: it redirects clients to signed links into this bucket.
resource "tencentcloud_cos_bucket" "blobs" {
  bucket = "${var.name}-${local.app_id}"
  acl    = "private"

  # This bucket is a cache: `terraform destroy` may empty it.
  force_clean = true

  lifecycle_rules {
    id            = "expire"
    filter_prefix = "${local.prefix}/"

    expiration {
      days = var.expiration_days
    }
  }

  lifecycle_rules {
    id            = "abandoned-uploads"
    filter_prefix = "${local.prefix}/"

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

resource "tencentcloud_cam_role" "proxy" {
  name        = var.name
  description = "What registry-proxy may do"
  document = jsonencode({
    version = "2.0"
    statement = [{
      action    = ["name/sts:AssumeRole"]
      effect    = "allow"
      principal = { service = ["scf.qcloud.com"] }
    }]
  })
}

resource "tencentcloud_cam_policy" "blobs" {
  name        = "${var.name}-blobs"
  description = "The bucket of registry-proxy, below one prefix"
  document = jsonencode({
    version = "2.0"
    statement = [
      {
        effect = "allow"
        action = [
          "name/cos:GetObject",
          "name/cos:HeadObject",
          "name/cos:PutObject",
          "name/cos:DeleteObject",
          "name/cos:InitiateMultipartUpload",
          "name/cos:UploadPart",
          "name/cos:ListParts",
          "name/cos:CompleteMultipartUpload",
          "name/cos:AbortMultipartUpload",
        ]
        resource = ["qcs::cos:${var.region}:uid/${local.app_id}:${tencentcloud_cos_bucket.blobs.bucket}/${local.prefix}/*"]
      },
      {
        effect   = "allow"
        action   = ["name/cos:GetBucket", "name/cos:ListMultipartUploads"]
        resource = ["qcs::cos:${var.region}:uid/${local.app_id}:${tencentcloud_cos_bucket.blobs.bucket}/*"]
      },
    ]
  })
}

resource "tencentcloud_cam_role_policy_attachment" "blobs" {
  role_id   = tencentcloud_cam_role.proxy.id
  policy_id = tencentcloud_cam_policy.blobs.id
}

# The provider compares the name of a zip, not its content, so each new package gets a new name. (If this copy is
# missing: `terraform apply -replace=terraform_data.package`.)
resource "terraform_data" "package" {
  for_each         = toset(local.packages)
  input            = "${path.module}/registry-proxy-${each.value}.zip"
  triggers_replace = each.value

  provisioner "local-exec" {
    command = "cp '${path.module}/registry-proxy.zip' '${self.input}'"
  }

  provisioner "local-exec" {
    when    = destroy
    command = "rm -f '${self.output}'"
  }
}

resource "tencentcloud_scf_function" "proxy" {
  name              = var.name
  description       = "registry-proxy"
  func_type         = "HTTP"
  runtime           = var.image == "" ? "CustomRuntime" : "CustomImage"
  handler           = var.image == "" ? "scf_bootstrap" : null
  mem_size          = var.memory_size
  timeout           = 900
  enable_public_net = true
  role              = tencentcloud_cam_role.proxy.name
  zip_file          = one([for package in terraform_data.package : package.output])

  dynamic "image_config" {
    for_each = var.image == "" ? [] : [var.image]

    content {
      image_type  = var.image_registry_id == "" ? "personal" : "enterprise"
      registry_id = var.image_registry_id == "" ? null : var.image_registry_id
      image_uri   = image_config.value
      image_port  = 9000
    }
  }

  environment = merge({
    REGISTRY_PROXY_CLIENTS__PATH_SECRET = var.path_secret
    REGISTRY_PROXY_CACHE__STORE         = "cos://${tencentcloud_cos_bucket.blobs.bucket}/${local.prefix}?region=${var.region}&endpoint=https://cos.${var.region}.myqcloud.com"
    REGISTRY_PROXY_LOG__FORMAT          = "json"

    # Should the platform one day not say it: without, answers would be too large for it.
    REGISTRY_PROXY_PLATFORM = "tencent-scf"

    # With REGISTRY_BACKEND: otherwise that registry's redirects lead clients past the bucket.
    HANDLE_REDIRECT = "true"
  }, var.environment)

  triggers {
    name = "url"
    type = "http"
    trigger_desc = jsonencode({
      AuthType  = "NONE"
      NetConfig = { EnableIntranet = true, EnableExtranet = true }
    })
  }

  depends_on = [tencentcloud_cam_role_policy_attachment.blobs]
}

output "bucket" {
  description = "The bucket that holds cached layers."
  value       = tencentcloud_cos_bucket.blobs.bucket
}

output "trigger" {
  description = "The function's trigger. Its URL is on the function's page in the console."
  value       = tencentcloud_scf_function.proxy.trigger_info
}
