# registry-proxy on AWS Lambda: what ../template.yaml and ../image.yaml create, for Terraform and OpenTofu. ../README.md says
# how.

terraform {
  required_version = ">= 1.4"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.28"
    }
  }
}

provider "aws" {
  region = var.region
}

data "aws_caller_identity" "me" {}

data "aws_partition" "here" {}

locals {
  account   = data.aws_caller_identity.me.account_id
  partition = data.aws_partition.here.partition
  prefix    = "registry-proxy"
  is_image  = var.image != ""

  # The function's policy and its log group name it before it exists.
  function_arn = "arn:${local.partition}:lambda:${var.region}:${local.account}:function:${var.name}"
}

# Layers are too large for the function's responses: it redirects clients to signed links into this bucket.
resource "aws_s3_bucket" "blobs" {
  bucket_prefix = "${var.name}-"

  # This bucket is a cache: `terraform destroy` may empty it.
  force_destroy = true
}

resource "aws_s3_bucket_public_access_block" "blobs" {
  bucket                  = aws_s3_bucket.blobs.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "blobs" {
  bucket = aws_s3_bucket.blobs.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "blobs" {
  bucket = aws_s3_bucket.blobs.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "blobs" {
  bucket = aws_s3_bucket.blobs.id

  rule {
    id     = "expire"
    status = "Enabled"

    filter {
      prefix = "${local.prefix}/"
    }

    expiration {
      days = var.expiration_days
    }
  }

  rule {
    id     = "abandoned-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

resource "aws_cloudwatch_log_group" "log" {
  name              = "/aws/lambda/${var.name}"
  retention_in_days = 14
}

resource "aws_iam_role" "proxy" {
  name        = var.name
  description = "What registry-proxy may do"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Action    = "sts:AssumeRole"
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "proxy" {
  name = "registry-proxy"
  role = aws_iam_role.proxy.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "Objects"
        Effect = "Allow"
        Action = [
          "s3:GetObject",
          "s3:PutObject",
          "s3:DeleteObject",
          "s3:AbortMultipartUpload",
          "s3:ListMultipartUploadParts",
        ]
        Resource = "${aws_s3_bucket.blobs.arn}/${local.prefix}/*"
      },
      {
        # Without it S3 answers 403 instead of 404 for a missing object.
        Sid       = "Names"
        Effect    = "Allow"
        Action    = "s3:ListBucket"
        Resource  = aws_s3_bucket.blobs.arn
        Condition = { StringLike = { "s3:prefix" = [local.prefix, "${local.prefix}/*"] } }
      },
      {
        Sid      = "Ingest"
        Effect   = "Allow"
        Action   = "lambda:InvokeFunction"
        Resource = local.function_arn
      },
      {
        Sid      = "Log"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.log.arn}:*"
      },
    ]
  })
}

resource "aws_lambda_function" "proxy" {
  function_name    = var.name
  description      = "registry-proxy"
  role             = aws_iam_role.proxy.arn
  package_type     = local.is_image ? "Image" : "Zip"
  image_uri        = local.is_image ? var.image : null
  filename         = local.is_image ? null : var.package
  source_code_hash = local.is_image ? null : filebase64sha256(var.package)
  handler          = local.is_image ? null : "bootstrap"
  runtime          = local.is_image ? null : "provided.al2023"
  architectures    = [var.architecture]
  memory_size      = var.memory_size

  # An invocation of its own fetches a large layer into the bucket, and may take this long.
  timeout                        = 900
  reserved_concurrent_executions = var.reserved_concurrency

  ephemeral_storage {
    size = 512
  }

  environment {
    variables = merge({
      REGISTRY_PROXY_CLIENTS__PATH_SECRET = var.path_secret
      REGISTRY_PROXY_CACHE__STORE         = "s3://${aws_s3_bucket.blobs.bucket}/${local.prefix}?region=${var.region}"
      REGISTRY_PROXY_LOG__FORMAT          = "json"

      # With REGISTRY_BACKEND: otherwise that registry's redirects lead clients past the bucket.
      HANDLE_REDIRECT = "true"
    }, var.environment)
  }

  lifecycle {
    precondition {
      condition     = (var.image == "") != (var.package == "")
      error_message = "Set image or package, one of the two."
    }
  }

  depends_on = [aws_cloudwatch_log_group.log, aws_iam_role_policy.proxy]
}

resource "aws_lambda_function_event_invoke_config" "proxy" {
  function_name                = aws_lambda_function.proxy.function_name
  maximum_event_age_in_seconds = 900
  maximum_retry_attempts       = 1
}

resource "aws_lambda_function_url" "proxy" {
  function_name      = aws_lambda_function.proxy.function_name
  authorization_type = var.cloudfront ? "AWS_IAM" : "NONE"
  invoke_mode        = "RESPONSE_STREAM"
}

# Since October 2025 a URL needs both of these: for everybody, or for the distribution.
resource "aws_lambda_permission" "url_may_be_asked" {
  statement_id           = "url-may-be-asked"
  function_name          = aws_lambda_function.proxy.function_name
  action                 = "lambda:InvokeFunctionUrl"
  principal              = var.cloudfront ? "cloudfront.amazonaws.com" : "*"
  source_arn             = one(aws_cloudfront_distribution.front[*].arn)
  function_url_auth_type = var.cloudfront ? "AWS_IAM" : "NONE"
}

resource "aws_lambda_permission" "function_may_be_invoked_by_url" {
  statement_id  = "function-may-be-invoked-by-url"
  function_name = aws_lambda_function.proxy.function_name
  action        = "lambda:InvokeFunction"
  principal     = var.cloudfront ? "cloudfront.amazonaws.com" : "*"
  source_arn    = one(aws_cloudfront_distribution.front[*].arn)

  # CloudFront's documentation has the second permission without this condition.
  invoked_via_function_url = var.cloudfront ? null : true
}

# Only what IAM lets invoke the function can send this event; requests to the URL cannot.
resource "aws_cloudwatch_event_rule" "warm" {
  count               = var.warm_schedule == "" ? 0 : 1
  name                = "${var.name}-warm"
  schedule_expression = var.warm_schedule
}

resource "aws_cloudwatch_event_target" "warm" {
  count = var.warm_schedule == "" ? 0 : 1
  rule  = aws_cloudwatch_event_rule.warm[0].name
  arn   = aws_lambda_function.proxy.arn
  input = jsonencode({ "registry-proxy/warm" = {} })
}

resource "aws_lambda_permission" "function_may_be_invoked_by_timer" {
  count         = var.warm_schedule == "" ? 0 : 1
  statement_id  = "function-may-be-invoked-by-timer"
  function_name = aws_lambda_function.proxy.function_name
  action        = "lambda:InvokeFunction"
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.warm[0].arn
}
