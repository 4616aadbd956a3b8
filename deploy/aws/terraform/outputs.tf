output "host" {
  description = "docker pull HOST/SECRET/library/alpine"
  value       = var.cloudfront ? aws_cloudfront_distribution.front[0].domain_name : split("/", aws_lambda_function_url.proxy.function_url)[2]
}

output "bucket" {
  description = "The bucket that holds cached layers."
  value       = aws_s3_bucket.blobs.bucket
}
