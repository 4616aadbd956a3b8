# CloudFront in front of the function's URL, which nobody else may ask then. For pulls without logins only: ../README.md.

locals {
  # AWS's own policies: Managed-CachingDisabled, because the proxy says what is fresh and CloudFront does not know who may have
  # it; Managed-AllViewerExceptHostHeader, because the function's URL answers under its own host only.
  caching_disabled       = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
  all_viewer_except_host = "b689b0a8-53d0-40ab-baf2-68738e2966ac"

  # By itself CloudFront keeps these errors for ten seconds.
  kept_errors = [400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504]
}

# CloudFront signs its requests, and so replaces the client's Authorization.
resource "aws_cloudfront_origin_access_control" "front" {
  count = var.cloudfront ? 1 : 0

  name                              = var.name
  origin_access_control_origin_type = "lambda"
  signing_behavior                  = "always"
  signing_protocol                  = "sigv4"
}

resource "aws_cloudfront_distribution" "front" {
  count = var.cloudfront ? 1 : 0

  comment         = "registry-proxy"
  enabled         = true
  http_version    = "http2and3"
  is_ipv6_enabled = true

  origin {
    origin_id                = "function"
    domain_name              = split("/", aws_lambda_function_url.proxy.function_url)[2]
    origin_access_control_id = aws_cloudfront_origin_access_control.front[0].id

    custom_origin_config {
      http_port              = 80
      https_port             = 443
      origin_protocol_policy = "https-only"
      origin_ssl_protocols   = ["TLSv1.2"]

      # The proxy answers within 25 seconds, with a redirect if need be.
      origin_read_timeout = 60
    }
  }

  default_cache_behavior {
    target_origin_id       = "function"
    viewer_protocol_policy = "https-only"

    # With a body, clients would have to send its SHA-256 in x-amz-content-sha256.
    allowed_methods          = ["GET", "HEAD"]
    cached_methods           = ["GET", "HEAD"]
    compress                 = false
    cache_policy_id          = local.caching_disabled
    origin_request_policy_id = local.all_viewer_except_host
  }

  dynamic "custom_error_response" {
    for_each = local.kept_errors

    content {
      error_code            = custom_error_response.value
      error_caching_min_ttl = 0
    }
  }

  restrictions {
    geo_restriction {
      restriction_type = "none"
    }
  }

  viewer_certificate {
    cloudfront_default_certificate = true
  }
}
